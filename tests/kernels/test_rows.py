import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rows import Kind, Rows
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

KINDS: tuple[Kind, ...] = ("softmax", "log_softmax", "layer_norm", "rms_norm", "l2_norm")


@st.composite
def specs(draw: st.DrawFn) -> Rows:
    outer = tuple(draw(st.lists(st.integers(1, 5), min_size=0, max_size=3)))
    extent = draw(st.sampled_from((1, 2, 7, 8, 31, 40, 65, 133)))
    shape, kind = (*outer, extent), draw(st.sampled_from(KINDS))
    scale = bias = None
    if kind in ("layer_norm", "rms_norm"):
        scale = draw(st.sampled_from((None, dense((extent,)), Tensor((extent,), (2,)))))
        bias = draw(st.sampled_from((None, dense((extent,))))) if kind == "layer_norm" else None
    source, out = draw(views(shape)), draw(views(shape))
    return Rows(source, out, kind, 1e-5, scale, bias, draw(programs(shape)))


def reference(spec: Rows, source: Array, scale: Array | float, bias: Array | float) -> Array:
    x: Array = source.astype(np.float64)
    found: Array
    if spec.kind in ("softmax", "log_softmax"):
        x = x - x.max(-1, keepdims=True)
        total = np.exp(x).sum(-1, keepdims=True)
        found = np.exp(x) / total if spec.kind == "softmax" else x - np.log(total)
    elif spec.kind == "l2_norm":
        found = x / np.sqrt((x * x).sum(-1, keepdims=True))
    else:
        x = x - x.mean(-1, keepdims=True) if spec.kind == "layer_norm" else x
        found = x / np.sqrt((x * x).mean(-1, keepdims=True) + spec.epsilon) * scale + bias
    return found


def tolerance(spec: Rows, source: Array) -> float:
    """More where values of a row differ by little of their size: what is left of them has their mean's rounding."""
    if spec.kind != "layer_norm":
        return TOLERANCE
    deviation = np.sqrt(source.astype(np.float64).var(-1) + spec.epsilon)
    return TOLERANCE + 4 * float(np.finfo(np.float32).eps * (np.abs(source).max(-1) / deviation).max())


@few(15)
@given(specs(), st.sampled_from(machines()), seeds, cuts)
def test_matches_numpy(spec: Rows, machine: Machine, seed: int, cut: float) -> None:
    source, rest = normal(seed, spec.source.shape) * 3, epilogue(spec.program, seed)
    scale, bias = (
        None if t is None else operand(t, normal(seed + i, t.shape)) for i, t in ((7, spec.scale), (8, spec.bias))
    )
    factors = [found for found in (scale, bias) if found is not None]
    found = outputs(spec, [operand(spec.source, source), *factors, *rest], machine, cut)
    expected = reference(spec, source, 1.0 if scale is None else scale.array, 0.0 if bias is None else bias.array)
    bound = tolerance(spec, source)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= bound


def test_masked_and_huge_values_leave_softmax_exact() -> None:
    source = np.array([[1e30, 1e30, -np.inf, 0.0], [-1e9, -1e9, -1e9, 5.0]], np.float32)
    spec = Rows(dense((2, 4)), dense((2, 4)), "softmax")
    found = outputs(spec, [operand(spec.source, source)], machines()[0])
    assert np.abs(found - np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1]])).max() < 1e-30


def test_a_row_of_zeros_has_no_length() -> None:
    spec = Rows(dense((1, 9)), dense((1, 9)), "l2_norm")
    assert not outputs(spec, [operand(spec.source, np.zeros((1, 9)))], machines()[0]).any()


def test_long_rows_that_fit_no_scratch() -> None:
    """The output is strided, so exponentials cannot be kept in it, and 65536 of them are too many for scratch."""
    spec = Rows(dense((2, 65536)), Tensor((2, 65536), (1, 2)), "softmax")
    source = normal(3, (2, 65536))
    found = outputs(spec, [operand(spec.source, source)], machines()[0])
    assert error(found, reference(spec, source, 1.0, 0.0)) <= TOLERANCE
