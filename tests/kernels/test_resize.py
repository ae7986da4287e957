import math

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.resize import Coordinates, Mode, Resize, Rounding
from gacer_tune.kernels.tensor import dense
from tests.support.kernels import (
    TOLERANCE,
    Array,
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

COORDINATES: tuple[Coordinates, ...] = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
ROUNDINGS: tuple[Rounding, ...] = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


@st.composite
def specs(draw: st.DrawFn) -> Resize:
    """Scales that are exact in binary, so that the reference rounds halves as the definition says."""
    image, channels = draw(st.tuples(st.integers(1, 6), st.integers(1, 6))), draw(st.sampled_from((1, 3, 8, 21, 40)))
    scales = draw(st.tuples(*[st.sampled_from((0.5, 1.0, 1.5, 2.0, 2.25, 4.0))] * 2))
    out = tuple(max(1, int(extent * scale)) for extent, scale in zip(image, scales, strict=True))
    mode: Mode = draw(st.sampled_from(("nearest", "linear", "cubic")))
    coordinates, rounding = draw(st.sampled_from(COORDINATES)), draw(st.sampled_from(ROUNDINGS))
    images, shape = draw(st.integers(1, 2)), (*out, channels)
    source, target = draw(views((images, *image, channels))), draw(views((images, *shape)))
    program, sharpness, inside = (
        draw(programs((images, *shape))),
        draw(st.sampled_from((-0.75, -0.5))),
        draw(st.booleans()),
    )
    return Resize(source, target, mode, coordinates, rounding, scales, program, sharpness, inside)


def places(spec: Resize, axis: int) -> Array:
    """Positions of the output's rows or columns in the source, by the definition of each mode."""
    extent, out = spec.source.shape[axis], spec.out.shape[axis]
    scale = spec.scales[axis - 1] if spec.scales else out / extent
    index = np.arange(out, dtype=np.float64)
    if out == 1 and spec.coordinates in ("align_corners", "pytorch_half_pixel"):
        return index
    if spec.coordinates == "align_corners":
        return index * (extent - 1) / (out - 1)
    return index / scale if spec.coordinates == "asymmetric" else (index + 0.5) / scale - 0.5


def along(spec: Resize, values: Array, axis: int) -> Array:
    """Interpolation along one axis."""
    at, last = places(spec, axis), spec.source.shape[axis] - 1
    if spec.mode == "nearest":
        rounded = {
            "floor": np.floor(at),
            "ceil": np.ceil(at),
            "round_prefer_floor": np.ceil(at - 0.5),
            "round_prefer_ceil": np.floor(at + 0.5),
        }[spec.rounding]
        return np.take(values, rounded.clip(0, last).astype(int), axis)
    if spec.mode == "cubic":
        return keys(spec, values, at, axis)
    at = at.clip(0, last)
    low = np.floor(at).astype(int)
    share = (at - low).reshape([-1 if a == axis else 1 for a in range(4)])
    found: Array = np.take(values, low, axis) * (1 - share) + np.take(values, (low + 1).clip(0, last), axis) * share
    return found


def keys(spec: Resize, values: Array, at: Array, axis: int) -> Array:
    """Cubic convolution along one axis, as a product with a matrix of weights."""
    a, extent = spec.sharpness, values.shape[axis]
    matrix = np.zeros((len(at), extent))
    for row, place in enumerate(at):
        for column in range(math.floor(place) - 1, math.floor(place) + 3):
            d = abs(place - column)
            weight = (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)
            if 0 <= column < extent or not spec.inside:
                matrix[row, min(max(column, 0), extent - 1)] += weight
    if spec.inside:
        matrix /= matrix.sum(1, keepdims=True)
    return np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)


@few(16)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Resize, machine: Machine, seed: int, cut: float) -> None:
    source, rest = normal(seed, spec.source.shape), epilogue(spec.program, seed)
    found = outputs(spec, [operand(spec.source, source), *rest], machine, cut)
    expected = along(spec, along(spec, source.astype(np.float64), 1), 2)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= TOLERANCE


@pytest.mark.parametrize(
    ("mode", "coordinates", "rounding", "scales"),
    [
        ("nearest", "asymmetric", "floor", (2.0, 2.0)),
        ("nearest", "half_pixel", "round_prefer_floor", (3.0, 0.5)),
        ("nearest", "align_corners", "round_prefer_ceil", (2.0, 3.0)),
        ("linear", "half_pixel", "floor", (2.0, 2.0)),
        ("linear", "half_pixel", "floor", (0.6, 1.7)),
        ("linear", "align_corners", "floor", (2.5, 2.0)),
        ("linear", "asymmetric", "floor", (0.5, 1.3)),
        ("linear", "pytorch_half_pixel", "floor", (0.2, 2.0)),
        ("cubic", "half_pixel", "floor", (2.0, 1.7)),
        ("cubic", "align_corners", "floor", (2.5, 0.6)),
        ("cubic", "asymmetric", "floor", (0.5, 3.0)),
    ],
)
def test_matches_onnx_runtime(
    mode: Mode, coordinates: Coordinates, rounding: Rounding, scales: tuple[float, float]
) -> None:
    source = normal(5, (1, 5, 6, 3))
    node = helper.make_node(
        "Resize", ["x", "", "s"], ["y"], mode=mode, coordinate_transformation_mode=coordinates, nearest_mode=rounding
    )
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, 5, 6))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [helper.make_tensor("s", onnx.TensorProto.FLOAT, (4,), (1.0, 1.0, *scales))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": source.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)
    spec = Resize(dense(source.shape), dense(expected.shape), mode, coordinates, rounding, scales)
    assert error(outputs(spec, [operand(spec.source, source)], machines()[0]), expected) <= TOLERANCE
