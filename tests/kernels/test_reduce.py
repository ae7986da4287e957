from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.reduce import Kind, Reduce
from gacer_tune.kernels.tensor import Tensor, dense
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

KINDS: tuple[Kind, ...] = ("sum", "mean", "max", "min", "prod", "sumsq", "l1", "l2")


def reference(spec: Reduce, source: Array) -> Array:
    x: Array = source if source.dtype.kind == "i" else source.astype(np.float64)
    fold: Any = {"max": np.max, "min": np.min, "prod": np.prod, "mean": np.mean}.get(spec.kind, np.sum)
    if spec.kind in ("l2", "sumsq"):
        x = x * x
    found: Array = np.asarray(fold(abs(x) if spec.kind == "l1" else x, axis=spec.axes, keepdims=True))
    return np.sqrt(found) if spec.kind == "l2" else found


@st.composite
def specs(draw: st.DrawFn) -> Reduce:
    extents = st.sampled_from((1, 2, 3, 5, 8, 13, 33, 70))
    shape = tuple(draw(st.lists(extents, min_size=1, max_size=4).filter(lambda x: np.prod(x) < 20000)))
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    kind = draw(st.sampled_from(KINDS))
    return Reduce(draw(views(shape)), draw(views(kept)), axes, kind, draw(programs(kept)))


@few(20)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Reduce, machine: Machine, seed: int, cut: float) -> None:
    source, rest = normal(seed, spec.source.shape), epilogue(spec.program, seed)
    if spec.kind == "prod":
        source = 1 + source / 20  # stays far from overflow
    found = outputs(spec, [operand(spec.source, source), *rest], machine, cut)
    folded = reference(spec, source)
    # What is summed may cancel, and its rounding does not: 1e-7 of all that went in.
    lost = 1e-7 * float(reference(spec, abs(source)).max() / max(abs(folded).max(), 0.02))
    assert error(found, evaluated(spec.program, folded, [gate.array for gate in rest])) <= TOLERANCE + lost


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("kind", ["sum", "max", "min", "prod", "l1"])
@pytest.mark.parametrize("axes", [(0,), (1,)])
def test_integers_are_exact(kind: Kind, dtype: str, axes: tuple[int, ...]) -> None:
    kept = (1, 21) if axes == (0,) else (5, 1)
    spec = Reduce(Tensor((5, 21), (22, 1), dtype), dense(kept, dtype), axes, kind)
    source = np.random.default_rng(1).integers(-9, 9, (5, 21)).astype(dtype)
    found = outputs(spec, [operand(spec.source, source)], machines()[0])
    assert found.dtype == dtype
    assert np.array_equal(found, reference(spec, source).astype(dtype))


@pytest.mark.parametrize("strides", [(1, 0), (0, 1)])
def test_long_sums_keep_their_precision(strides: tuple[int, int]) -> None:
    """300000 equal terms: added one after the other, the rounding errors would add up too."""
    source = Tensor((300000, 8), strides)
    spec = Reduce(source, dense((1, 8)), (0,), "sum")
    found = outputs(spec, [operand(source, np.full(source.shape, 0.1, np.float32))], machines()[0])
    assert error(found, np.full((1, 8), 300000 * np.float64(np.float32(0.1)))) <= 2e-5
