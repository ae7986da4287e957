"""Elementwise functions as TensorIR expressions; each works on one element and on a vector of them.

Transcendental functions are polynomials and ratios of them in float32, because the compiler would call the C library
for each lane.
Largest errors, tested against numpy: exp 3e-7 relative; erf, tanh, sigmoid 1e-6 absolute; log, and sin and cos up to
1e6, 2e-7 relative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

Expr = Any
Unary = Callable[[Expr], Expr]  # another one where the target has a library

_EXPONENT = 1.5 * 2**23 + 127
# Fitted for the least largest error: relative of e^r for 0 <= r <= ln 2 (9e-8), absolute of the ratios (2e-8).
# The arguments of the ratios end where their rounded value is exactly 1.
_EXP = (1.0, 1.00000608, 0.4998687208, 0.1675660759, 0.0390400812, 0.01168473437)
_TANH = (
    (0.9999999455, 0.134062041, 0.003525817097, 2.112153951e-05, 1.409921078e-08),
    (1.0, 0.4673951548, 0.02599112695, 0.0003335686972, 8.073603295e-07),
)
_ERF = (
    (1.128379032, 0.19194133, 0.05296696198, 0.003836890659, 0.0002874577095, 2.050386167e-06),
    (1.0, 0.5034353527, 0.1147583354, 0.01510923269, 0.001181738241, 3.823075485e-05),
)
# For squares up to (pi / 4)^2: (sin(r) - r) / r^3 (4e-9 of sin(r)), (cos(r) - 1 + r^2 / 2) / r^4 (1e-10); of s up to
# 0.1716: (2 atanh(s) / s - 2) / s^2 (8e-10 of 2 atanh(s) / s).
_SIN = (-0.166666548, 0.008332168926, -0.0001951601197)
_COS = (0.04166664663, -0.001388735537, 2.443700782e-05)
_LOG = (0.6666677649, 0.3997752703, 0.2987215337)
_ROOT = 0x3F3504F3  # the bits of root 1/2
_SMALLEST = 2.0**-126  # normal number
# pi / 2 in two parts; the first has 33 bits, so that its product with 20 bits is exact.
_HALF_PI = (1.5707963267341256, 6.077100506506192e-11)


def element(x: Expr) -> str:
    """Element type of an expression: float32x8 -> float32."""
    return str(x.ty.dtype).partition("x")[0]


def lanes(x: Expr) -> int:
    return int(str(x.ty.dtype).partition("x")[2] or 1)


def typed(x: Expr, dtype: str) -> str:
    """dtype with as many lanes as x."""
    return dtype if lanes(x) == 1 else f"{dtype}x{lanes(x)}"


def cast(x: Expr, dtype: str) -> Expr:
    if element(x) == dtype:
        return x
    if dtype == "bool":
        return tirx.NE(x, like(0, x))  # the operator != only compares, it makes no expression of vectors
    return tirx.Cast(typed(x, dtype), x)


def like(value: float, x: Expr) -> Expr:
    """The constant as an element of x's type, in as many lanes."""
    scalar = tirx.const(value if element(x).startswith("float") else int(value), element(x))
    return scalar if lanes(x) == 1 else tirx.Broadcast(scalar, lanes(x))


def reinterpret(x: Expr, dtype: str) -> Expr:
    return tirx.reinterpret(typed(x, dtype), x)


def exp(x: Expr) -> Expr:
    """2^n * e^r with n = x / ln 2 rounded down, 0 <= r < ln 2, and e^r as a polynomial of degree 5.

    Added to 1.5 * 2^23 and the bias of exponents, n stands in the lowest bits, and a shift makes 2^n of it. The results
    are all normal float32, -126 <= n <= 127; above (e^88.723) 2^n is infinity, below (e^-87.337) it is 0.
    """
    if element(x) != "float32":
        return tirx.exp(x)
    x = tirx.max(like(-88.0, x), tirx.min(like(89.0, x), x))  # of two that do not compare the second: NaN stays
    n = tirx.floor(x * like(1.44269504088896341, x))
    return _scaled(n, x - n * like(0.693359375, x) + n * like(2.12194440e-4, x))


def _scaled(n: Expr, r: Expr) -> Expr:
    """2^n * e^r."""
    power = reinterpret(reinterpret(n + like(_EXPONENT, n), "int32") << like_int(23, n), "float32")
    return horner(_EXP, r) * power


def _falling(x: Expr) -> Expr:
    """1 + e^-x. ln 2 is taken as one number: far from 0, where that shows in e^-x, it does not in the sum."""
    if element(x) != "float32":
        return like(1.0, x) + exp(-x)
    x = tirx.max(like(-89.0, x), tirx.min(like(88.0, x), x))  # of two that do not compare the second: NaN stays
    n = tirx.floor(x * like(-1.44269504088896341, x))
    return like(1.0, x) + _scaled(n, n * like(-0.6931471805599453, x) - x)


def horner(coefficients: Sequence[float], x: Expr) -> Expr:
    """The polynomial with these coefficients, the constant first."""
    value = like(coefficients[-1], x)
    for c in reversed(coefficients[:-1]):
        value = value * x + like(c, x)
    return value


def odd_ratio(p: Sequence[float], q: Sequence[float], x: Expr, most: float) -> Expr:
    """x * p(x^2) / q(x^2), with x kept within +-most."""
    x = clip(x, -most, most)
    square = x * x
    return x * horner(p, square) / horner(q, square)


def like_int(value: int, x: Expr) -> Expr:
    scalar = tirx.const(value, "int32")
    return scalar if lanes(x) == 1 else tirx.Broadcast(scalar, lanes(x))


def sigmoid(x: Expr) -> Expr:
    return like(1.0, x) / _falling(x)


def silu(x: Expr) -> Expr:
    return x / _falling(x)


def tanh(x: Expr) -> Expr:
    if element(x) != "float32":
        return like(1.0, x) - like(2.0, x) / (exp(x * like(2.0, x)) + like(1.0, x))
    return odd_ratio(*_TANH, x, 8.2437)


def erf(x: Expr) -> Expr:
    return odd_ratio(*_ERF, x, 3.7075)


def mish(x: Expr, exponential: Unary = exp) -> Expr:
    """x * tanh(softplus(x)), which is x * n / (n + 2) with n = e^x (e^x + 2)."""
    e = exponential(tirx.min(like(20.0, x), x))
    n = e * (e + like(2.0, x))
    return x * (n / (n + like(2.0, x)))


def gelu(x: Expr, error: Unary = erf) -> Expr:
    return x * like(0.5, x) * (like(1.0, x) + error(x * like(math.sqrt(0.5), x)))


def gelu_tanh(x: Expr, tangent: Unary = tanh) -> Expr:
    inner = like(math.sqrt(2 / math.pi), x) * (x + like(0.044715, x) * x * x * x)
    return x * like(0.5, x) * (like(1.0, x) + tangent(inner))


def clip(x: Expr, low: float, high: float) -> Expr:
    return tirx.min(like(high, x), tirx.max(like(low, x), x))  # of two that do not compare the second: NaN stays


def hard_sigmoid(x: Expr, alpha: float, beta: float) -> Expr:
    return clip(x * like(alpha, x) + like(beta, x), 0.0, 1.0)


def relu(x: Expr) -> Expr:
    return tirx.max(like(0.0, x), x)  # of two that do not compare the second: NaN stays


def leaky_relu(x: Expr, alpha: float) -> Expr:
    return tirx.Select(x < like(0.0, x), x * like(alpha, x), x)


def log(x: Expr) -> Expr:
    """k ln 2 + log(1 + f) with 1 + f from root 1/2 to root 2, and log(1 + f) = 2 atanh(s), s = f / (2 + f).

    0 gives -infinity; of negative numbers there is none.
    """
    if element(x) != "float32":
        return tirx.log(x)
    tiny = x < like(_SMALLEST, x)
    bits = reinterpret(tirx.Select(tiny, x * like(2.0**23, x), x), "int32")
    k = (bits - like_int(_ROOT, bits)) >> like_int(23, bits)
    f = reinterpret(bits - (k << like_int(23, bits)), "float32") - like(1.0, x)
    k = cast(k, "float32") - tirx.Select(tiny, like(23.0, x), like(0.0, x))
    s, half = f / (f + like(2.0, x)), f * f * like(0.5, x)
    rest = s * (half + s * s * horner(_LOG, s * s)) + k * like(-2.12194440e-4, x)
    value = k * like(0.693359375, x) + (f - (half - rest))
    outside = tirx.Select(tirx.EQ(x, like(0.0, x)), like(-math.inf, x), like(math.nan, x))
    return tirx.Select(x > like(0.0, x), tirx.Select(x < like(math.inf, x), value, x), outside)


def sin(x: Expr) -> Expr:
    return tirx.sin(x) if element(x) != "float32" else _turned(x, 0.0)


def cos(x: Expr) -> Expr:
    return tirx.cos(x) if element(x) != "float32" else _turned(x, 1.0)


def _turned(x: Expr, quarters: float) -> Expr:
    """sin(x + quarters * pi / 2): x = n pi / 2 + r with r from -pi / 4 to pi / 4, found in double precision."""
    wide = cast(x, "float64")
    n = tirx.nearbyint(wide * like(2 / math.pi, wide))
    r = cast(wide - n * like(_HALF_PI[0], n) - n * like(_HALF_PI[1], n), "float32")
    turn = n + like(quarters, n)
    turn = cast(turn - tirx.floor(turn * like(0.25, n)) * like(4.0, n), "float32")
    square = r * r
    sine = r + r * square * horner(_SIN, square)
    cosine = like(1.0, x) - square * like(0.5, x) + square * square * horner(_COS, square)
    odd = tirx.Or(tirx.EQ(turn, like(1.0, x)), tirx.EQ(turn, like(3.0, x)))
    value = tirx.Select(odd, cosine, sine)
    return tirx.Select(turn < like(2.0, x), value, -value)


def elu(x: Expr, alpha: float, gamma: float = 1.0, exponential: Unary = exp) -> Expr:
    return like(gamma, x) * tirx.Select(x < like(0.0, x), like(alpha, x) * (exponential(x) - like(1.0, x)), x)


def softplus(x: Expr, exponential: Unary = exp, logarithm: Unary = log) -> Expr:
    return tirx.max(x, like(0.0, x)) + logarithm(like(1.0, x) + exponential(-tirx.max(x, -x)))


def constant(x: Expr) -> float | None:
    """What all lanes of a constant are."""
    one = x.value if isinstance(x, tirx.Broadcast) else x
    return one.value if isinstance(one, tirx.FloatImm | tirx.IntImm) else None


def extreme(choose: Callable[[Expr, Expr], Expr], x: Expr, y: Expr) -> Expr:
    """tirx.max or tirx.min of two; NaN where one of them is. What else is constant is a finite number."""
    if constant(y) is not None:
        x, y = y, x
    chosen = choose(x, y)  # of two that do not compare the second: NaN in y stays
    if constant(x) is not None or not element(x).startswith("float"):
        return chosen
    return tirx.Select(tirx.isnan(x), x, chosen)


def div(x: Expr, y: Expr) -> Expr:
    """Numpy's for floats, also by a constant 0, which TVM refuses to divide by; of integers that is 0, as numpy's."""
    zero = constant(y)
    if zero is not None and zero == 0:
        return x * like(math.copysign(math.inf, zero), x) if element(x).startswith("float") else like(0, x)
    return x / y if element(x).startswith("float") else tirx.truncdiv(x, y)


def abs_(x: Expr) -> Expr:
    return x if element(x).startswith("uint") else tirx.max(x, -x)


def pow_(x: Expr, y: Expr) -> Expr:
    """The type of x; integers are raised in double precision: exact up to 2^53. Of fractions the whole part is kept."""
    if element(x).startswith("float"):
        return tirx.power(x, cast(y, element(x)))
    value = tirx.power(cast(x, "float64"), cast(y, "float64"))
    return cast(value if element(y).startswith("float") else tirx.nearbyint(value), element(x))


def mod(x: Expr, y: Expr) -> Expr:
    """The remainder with the sign of y, as ONNX without fmod.

    That of floats is exact in double precision while x / y stays below 2^28; by infinity it is x, or infinity.
    """
    if not element(x).startswith("float"):
        return tirx.floormod(x, y)
    wide, by = cast(x, "float64"), cast(y, "float64")
    times, zero = tirx.trunc(wide / by), like(0.0, wide)
    rest = tirx.Select(tirx.EQ(times, zero), wide, wide - times * by)
    turned = tirx.Or(tirx.And(rest < zero, by > zero), tirx.And(rest > zero, by < zero))
    return cast(tirx.Select(turned, rest + by, rest), element(x))


def equal(x: Expr, y: Expr) -> Expr:
    """Booleans are compared as bytes: LLVM would be asked to compare bits as floats."""
    return tirx.EQ(cast(x, "uint8"), cast(y, "uint8")) if element(x) == "bool" else tirx.EQ(x, y)


def sign(x: Expr) -> Expr:
    zero, one = like(0.0, x), like(1.0, x)
    if element(x).startswith("uint"):
        return tirx.min(x, one)
    return tirx.Select(x > zero, one, tirx.Select(x < zero, -one, x))


def power(x: Expr, exponent: float) -> Expr:
    """x to a constant power, with multiplications and roots where that is exact enough."""
    if exponent == 2.0:
        return x * x
    if exponent == 3.0:
        return x * x * x
    if exponent == 0.5:
        return tirx.sqrt(x)
    if exponent == 0.75:
        root = tirx.sqrt(x)
        return root * tirx.sqrt(root)
    if exponent == -1.0:
        return like(1.0, x) / x
    return tirx.power(x, like(exponent, x))
