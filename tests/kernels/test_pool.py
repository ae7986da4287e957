import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.pool import Pool
from tests.support.kernels import (
    TOLERANCE,
    cuts,
    epilogue,
    error,
    evaluated,
    few,
    machines,
    normal,
    operand,
    outputs,
    programs,
    seeds,
    views,
)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    images, channels = draw(st.integers(1, 2)), draw(st.sampled_from((1, 3, 8, 13, 21, 40)))
    image = draw(st.integers(4, 12)), draw(st.integers(4, 20))
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 3))), draw(st.sampled_from(((1, 1), (2, 1))))
    high, wide = st.integers(0, size[0] - 1), st.integers(0, size[1] - 1)
    pad = draw(st.tuples(high, wide, high, wide))
    ceil = draw(st.booleans())
    out = []
    for axis in (0, 1):
        room = image[axis] + pad[axis] + pad[axis + 2] - (size[axis] - 1) * dilation[axis] - 1
        extent = (room + (stride[axis] - 1 if ceil else 0)) // stride[axis] + 1
        last = (extent - 1) * stride[axis]
        out.append(extent - (last >= image[axis] + pad[axis]))  # a window starts in the image or the padding before it
    shape = (images, *out, channels)
    source = draw(views((images, *image, channels)))
    program = draw(programs(shape))
    return Pool(
        source,
        draw(views(shape)),
        draw(st.sampled_from(("max", "avg"))),
        size,
        stride,
        pad,
        dilation,
        draw(st.booleans()),
        program,
    )


def reference(spec: Pool, source: NDArray[np.float32]) -> NDArray[np.float64]:
    out = np.zeros(spec.out.shape)
    height, width = source.shape[1:3]
    bottom, right = height + spec.pad[2], width + spec.pad[3]
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            rows = [row * spec.stride[0] - spec.pad[0] + y * spec.dilation[0] for y in range(spec.size[0])]
            columns = [column * spec.stride[1] - spec.pad[1] + x * spec.dilation[1] for x in range(spec.size[1])]
            inside = [(y, x) for y in rows for x in columns if 0 <= y < height and 0 <= x < width]
            values = np.stack([source[:, y, x] for y, x in inside])
            padded = sum(y < bottom for y in rows) * sum(x < right for x in columns)
            count = padded if spec.count_include_pad else len(inside)
            out[:, row, column] = values.max(0) if spec.kind == "max" else values.astype(np.float64).sum(0) / count
    return out


@few(12)
@given(pools(), st.sampled_from(machines()), seeds, cuts)
def test_matches_a_loop_over_windows(spec: Pool, machine: Machine, seed: int, cut: float) -> None:
    source, rest = normal(seed, spec.source.shape), epilogue(spec.program, seed)
    found = outputs(spec, [operand(spec.source, source), *rest], machine, cut)
    assert error(found, evaluated(spec.program, reference(spec, source), [gate.array for gate in rest])) <= TOLERANCE
