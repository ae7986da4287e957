"""The elementwise functions against numpy, each on whole vectors and on single elements."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gacer_tune.kernels.emit.blocks import sweep
from gacer_tune.kernels.emit.elementwise import FUNCTIONS
from gacer_tune.kernels.emit.function import Function
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import dense
from tests.support.kernels import Array, Operand, call, compiled, machines, operand

COUNT = 1003  # elements: whole vectors, and a tail
FLOAT, PAIR, BOTH = ("float32",), ("float32", "float32"), ("bool", "bool")
ROUNDED = 1.2e-7  # relative error of one operation in float32
REAL, POSITIVE, SHORT = (-20.0, 20.0), (1e-6, 1e6), (-5.0, 5.0)


@dataclass(frozen=True)
class Case:
    """fn on operands of some types from a domain is what the reference gives in double precision, within errors."""

    fn: str
    reference: Callable[..., Any]
    types: tuple[str, ...] = FLOAT
    out: str = "float32"
    params: tuple[float, ...] = ()
    domain: tuple[float, float] = REAL
    absolute: float = 0.0
    relative: float = 0.0

    def __str__(self) -> str:
        return "-".join([self.fn, *self.types, self.out, *map(str, self.params)])


def erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x])


def sigmoid(x: Array) -> Any:
    return 1 / (1 + np.exp(-x))


def gelu(x: Array) -> Any:
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Array) -> Any:
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def elu(x: Array, alpha: float, gamma: float = 1.0) -> Any:
    return gamma * np.where(x < 0, alpha * np.expm1(x), x)


def hard_sigmoid(x: Array, alpha: float, beta: float) -> Any:
    return np.clip(alpha * x + beta, 0, 1)


def leaky(x: Array, slope: Any) -> Any:
    return np.where(x < 0, slope * x, x)


EXACT = [
    *(Case("identity", lambda x: x, (dtype,), dtype) for dtype in ("float32", "int64", "bool")),
    *(Case("neg", np.negative, (dtype,), dtype) for dtype in ("float32", "int64")),
    *(Case("abs", np.abs, (dtype,), dtype) for dtype in ("float32", "int32", "uint8")),
    *(Case("sign", np.sign, (dtype,), dtype) for dtype in ("float32", "int64", "uint8")),
    Case("floor", np.floor),
    Case("ceil", np.ceil),
    Case("round", np.rint),
    Case("relu", lambda x: np.maximum(x, 0)),
    *(Case("max", np.maximum, (dtype,) * 2, dtype) for dtype in ("float32", "int64")),
    *(Case("min", np.minimum, (dtype,) * 2, dtype) for dtype in ("float32", "int32")),
    Case("at_least", np.maximum, PAIR),
    Case("at_most", np.minimum, PAIR),
    *(Case(fn, getattr(np, name), ("int64",) * 2, "int64") for fn, name in (("add", "add"), ("sub", "subtract"))),
    Case("mul", np.multiply, ("int32",) * 2, "int32"),
    *(Case("div", lambda x, y: np.trunc(x / y), (dtype,) * 2, dtype) for dtype in ("int64", "int32")),
    *(Case("mod", np.mod, (dtype,) * 2, dtype) for dtype in ("int64", "int32")),
    Case("mod", lambda x, y: np.mod(x.astype(np.float64), y.astype(np.float64)).astype(np.float32), PAIR),
    Case("pow", np.power, ("int64",) * 2, "int64", domain=(0, 12)),
    Case("pow", lambda x, y: np.trunc(x.astype(float) ** y), ("int64", "float32"), "int64", domain=(1, 12)),
    *(
        Case(fn, getattr(np, fn), (dtype,) * 2, "bool")
        for fn in ("equal", "less", "less_equal", "greater", "greater_equal")
        for dtype in ("float32", "int64")
    ),
    Case("equal", np.equal, BOTH, "bool"),
    Case("and", np.logical_and, BOTH, "bool"),
    Case("or", np.logical_or, BOTH, "bool"),
    Case("not", np.logical_not, ("bool",), "bool"),
    *(Case("where", np.where, ("bool", dtype, dtype), dtype) for dtype in ("float32", "int64")),
    *(
        Case("cast", lambda x: x, (one,), other)
        for one, other in (("bool", "float32"), ("bool", "int64"), ("int64", "int32"), ("int32", "float32"))
    ),
    Case("cast", np.trunc, FLOAT, "int64"),
    Case("cast", np.trunc, FLOAT, "int32"),
    *(Case("cast", lambda x: x != 0, (dtype,), "bool") for dtype in ("float32", "int64", "int32")),
]
CLOSE = [
    Case("add", np.add, PAIR, relative=ROUNDED),
    Case("sub", np.subtract, PAIR, relative=ROUNDED),
    Case("mul", np.multiply, PAIR, relative=ROUNDED),
    Case("div", np.divide, PAIR, relative=ROUNDED),
    Case("pow", np.power, ("float32", "int64"), relative=1e-6, domain=(1, 12)),
    Case("pow", np.power, PAIR, domain=(0.1, 6.0), relative=1e-6),
    Case("power", lambda x: x**2, params=(2.0,), relative=ROUNDED),
    Case("power", lambda x: x**3, params=(3.0,), relative=2 * ROUNDED),
    *(
        Case("power", lambda x, e=e: x**e, params=(e,), domain=POSITIVE, relative=1e-6)
        for e in (0.5, 0.75, -1.0, 1.7, -0.5)
    ),
    Case("sqrt", np.sqrt, domain=POSITIVE, relative=ROUNDED),
    Case("reciprocal", np.reciprocal, relative=ROUNDED),
    Case("exp", np.exp, domain=(-87.33, 88.7228), relative=3e-7),
    *(Case("log", np.log, domain=domain, relative=2e-7) for domain in (POSITIVE, (1e-45, 3.4e38), (0.7, 1.4))),
    *(
        Case(name, reference, domain=(-limit, limit), relative=2e-7)
        for name, reference in (("sin", np.sin), ("cos", np.cos))
        for limit in (1.0, 20.0, 1e4, 1e6)
    ),
    Case("sigmoid", sigmoid, domain=(-100.0, 100.0), absolute=1e-6),
    Case("tanh", np.tanh, domain=(-100.0, 100.0), absolute=1e-6),
    Case("erf", erf, absolute=1e-6),
    Case("gelu", gelu, absolute=1e-6, relative=1e-6),
    Case("mish", lambda x: x * np.tanh(np.logaddexp(0, x)), relative=1e-6),
    Case("gelu_tanh", gelu_tanh, absolute=1e-6, relative=1e-6),
    Case("silu", lambda x: x * sigmoid(x), absolute=1e-6, relative=1e-6),
    Case("softplus", lambda x: np.logaddexp(0, x), absolute=1e-6, relative=1e-6),
    Case("softsign", lambda x: x / (1 + np.abs(x)), relative=2 * ROUNDED),
    Case("elu", lambda x: elu(x, 0.7), params=(0.7,), absolute=1e-6),
    Case("elu", lambda x: elu(x, 1.6, 1.05), params=(1.6, 1.05), absolute=1e-6, relative=1e-6),
    Case("hard_sigmoid", lambda x: hard_sigmoid(x, 0.2, 0.5), params=(0.2, 0.5), domain=SHORT, absolute=2e-7),
    Case("hard_swish", lambda x: x * hard_sigmoid(x, 1 / 6, 0.5), domain=SHORT, absolute=1e-6),
    Case("leaky_relu", lambda x: leaky(x, 0.1), params=(0.1,), relative=ROUNDED),
    Case("prelu", leaky, PAIR, relative=ROUNDED),
]


def values(dtype: str, case: Case, seed: int) -> Array:
    """Random values of a type, for floats with the ends of the domain and a few that are special.

    Integers are up to 60 and not 0, but for the first one, where the domain says nothing else.
    """
    rng, (low, high) = np.random.default_rng(seed), case.domain
    if dtype == "bool":
        return np.array(rng.integers(0, 2, COUNT), np.bool_)
    if dtype != "float32":
        if case.domain != REAL:
            return rng.integers(int(low), int(high) + 1, COUNT).astype(dtype)
        found: Array = rng.integers(1, 60, COUNT) * rng.choice((-1, 1), COUNT)
        found[0] = 0 if seed == 0 else 1
        return found.astype(dtype)
    spread = np.exp(rng.uniform(math.log(low), math.log(high), COUNT)) if low > 0 else rng.uniform(low, high, COUNT)
    special = [value for value in (low, high, 1.0, -1.0, 0.5, 2.5, -3.5, 1e-3, -1e-4) if low <= value <= high]
    spread[: len(special)] = special
    return spread.astype(np.float32)


def computed(case: Case, inputs: list[Array], *more: Arg) -> tuple[Array, Array]:
    """What the function makes of vectors, and of single elements; `more` arguments come last."""
    machine, shape = machines()[0], (2, COUNT)
    args = (*(Arg("operand", i) for i in range(len(inputs))), *more)
    program = Program((Step(case.fn, args, case.out, case.params),), tuple(dense(shape, t) for t in case.types))
    function = Function("kernel", (*program.operands, dense(shape, case.out)))

    def item(row: Any) -> None:
        def at(first: Any, width: int) -> None:
            function.store(-1, (row, first), function.finish(program, 0, (row, first), None, width))

        sweep(COUNT, machine.vector, at)
        row = row + 1
        sweep(COUNT, 1, at)

    operands = [operand(tensor, np.stack([x, x]), 0) for tensor, x in zip(program.operands, inputs, strict=True)]
    out = Operand(dense(shape, case.out))
    call(compiled(function.build(item), machine, "kernel"), [*operands, out], 0, 1)
    assert out.untouched()
    return out.array[0], out.array[1]


@pytest.mark.parametrize("case", EXACT, ids=str)
def test_exact_functions(case: Case) -> None:
    inputs = [values(dtype, case, seed) for seed, dtype in enumerate(case.types)]
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in inputs]
    expected = np.asarray(case.reference(*wide)).astype(case.out)
    for found in computed(case, inputs):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("case", CLOSE, ids=str)
def test_rounded_functions(case: Case) -> None:
    inputs = [values(dtype, case, seed) for seed, dtype in enumerate(case.types)]
    expected = np.asarray(case.reference(*(x.astype(np.float64) for x in inputs)))
    for found in computed(case, inputs):
        error = np.abs(found - expected) - case.relative * np.abs(expected)
        assert error.max() <= case.absolute, f"{error.max():.1e} at {inputs[0][error.argmax()]}"


@pytest.mark.parametrize(
    ("x", "expected"),
    [(88.72284, math.inf), (200.0, math.inf), (math.inf, math.inf), (-87.34, 0.0), (-1e9, 0.0), (-math.inf, 0.0)],
)
def test_exp_overflows_to_infinity_and_underflows_to_zero(x: float, expected: float) -> None:
    inputs = [np.full(COUNT, x, np.float32)]
    for found in computed(Case("exp", np.exp), inputs):
        assert np.array_equal(found, np.full(COUNT, expected, np.float32))


@pytest.mark.parametrize("x", [88.5, 88.72283, -87.3365, -0.0, 0.0])
def test_exp_is_right_up_to_the_largest_and_down_to_the_smallest_normal_number(x: float) -> None:
    inputs = [np.full(COUNT, x, np.float32)]
    expected = np.exp(inputs[0].astype(np.float64))
    assert np.finfo(np.float32).tiny <= expected[0] <= np.finfo(np.float32).max
    for found in computed(Case("exp", np.exp), inputs):
        assert np.abs(found / expected - 1).max() <= (3e-7 if x else 0.0)


@pytest.mark.parametrize(
    ("fn", "x", "expected"),
    [
        *(("sigmoid", x, 0.0) for x in (-89.0, -1e30, -math.inf)),
        *(("sigmoid", x, 1.0) for x in (89.0, 1e30, math.inf)),
        *(("silu", x, 0.0) for x in (-89.0, -1e30, -3e38)),
        *(("silu", x, x) for x in (89.0, 3e38, math.inf)),
        *((fn, math.nan, math.nan) for fn in ("exp", "sigmoid", "silu", "log", "sin", "cos")),
        *((fn, x, math.nan) for fn in ("sin", "cos") for x in (math.inf, -math.inf)),
        *(("log", x, -math.inf) for x in (0.0, -0.0)),
        *(("log", x, math.nan) for x in (-1e-45, -3.0, -math.inf)),
        *(("log", 1.0, 0.0), ("log", math.inf, math.inf), ("sin", 0.0, 0.0), ("cos", 0.0, 1.0)),
    ],
)
def test_functions_at_the_ends(fn: str, x: float, expected: float) -> None:
    inputs = [np.full(COUNT, x, np.float32)]
    for found in computed(Case(fn, np.exp), inputs):
        assert np.array_equal(found, np.full(COUNT, expected, np.float32), equal_nan=True)


@pytest.mark.parametrize(("dtype", "zero"), [("float32", 0.0), ("float32", -0.0), ("int64", 0.0), ("int32", 0.0)])
def test_a_constant_zero_divides_as_numpy_has_it(dtype: str, zero: float) -> None:
    x = np.resize(np.array([-2, 0, 3], dtype), COUNT)
    with np.errstate(all="ignore"):
        expected = x / np.float32(zero) if dtype == "float32" else x // np.zeros(1, dtype)
    for found in computed(Case("div", np.divide, (dtype,), dtype), [x], Arg("const", value=zero, dtype=dtype)):
        assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("fn", ["sin", "cos"])
def test_angles_near_those_of_zeros_are_reduced_well(fn: str) -> None:
    """Next to multiples of pi / 2, where most digits cancel; and far out, where the error is one of the angle."""
    near = (np.arange(COUNT) * 6.3 // 1 * math.pi / 2).astype(np.float32)
    for found in computed(Case(fn, getattr(np, fn)), [near]):
        expected = getattr(np, fn)(near.astype(np.float64))
        assert (np.abs(found - expected) <= 2e-7 * np.abs(expected)).all()
    for found in computed(Case(fn, getattr(np, fn)), [near * np.float32(1e5)]):
        assert np.abs(found - getattr(np, fn)((near * np.float32(1e5)).astype(np.float64))).max() <= 1e-6


def test_each_function_has_a_case() -> None:
    assert {case.fn for case in EXACT + CLOSE} == set(FUNCTIONS)
