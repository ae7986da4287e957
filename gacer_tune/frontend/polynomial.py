"""Small subgraphs of arithmetic as polynomials in one value: how two spellings of a formula are seen to be the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from gacer_tune.frontend.graph import Uses

Polynomial: TypeAlias = "dict[int, float]"  # power -> coefficient, none of them 0
MAX_DEGREE = 3
MAX_DEPTH = 8


def expand(uses: Uses, name: str, x: str, depth: int = MAX_DEPTH) -> Polynomial | None:
    """The value `name` as a polynomial in `x`, through at most `depth` nodes in a row that nobody else reads.

    None if it is no polynomial of degree <= 3 with constant coefficients.
    """
    if name == x:
        return {1: 1.0}
    constant = uses.scalar(name)
    if constant is not None:
        return _without_zeros({0: constant})
    node = uses.inner(name, "Add", "Sub", "Mul", "Div", "Pow", "Neg")
    if node is None or depth == 0:
        return None
    operands = [expand(uses, item, x, depth - 1) for item in node.input]
    if operands[0] is None or operands[-1] is None:
        return None
    return _combined(node.op_type, operands[0], operands[-1])


def _combined(op_type: str, left: Polynomial, right: Polynomial) -> Polynomial | None:
    """The result of one arithmetic operator (Neg has its operand in both places)."""
    if op_type == "Neg":
        return scaled(left, -1.0)
    if op_type == "Mul":
        return _product(left, right)
    if op_type in ("Add", "Sub"):
        sign = 1.0 if op_type == "Add" else -1.0
        powers = left.keys() | right.keys()
        return _without_zeros({power: left.get(power, 0.0) + sign * right.get(power, 0.0) for power in powers})
    if set(right) != {0}:  # Div and Pow need a constant
        return None
    if op_type == "Div":
        return scaled(left, 1 / right[0])
    return _power(left, right[0])


def _power(base: Polynomial, exponent: float) -> Polynomial | None:
    if exponent not in (1.0, 2.0, 3.0):
        return None
    result: Polynomial | None = base
    for _ in range(int(exponent) - 1):
        result = None if result is None else _product(result, base)
    return result


def _product(left: Polynomial, right: Polynomial) -> Polynomial | None:
    total: defaultdict[int, float] = defaultdict(float)
    for power, coefficient in left.items():
        for other, factor in right.items():
            total[power + other] += coefficient * factor
    result = _without_zeros(total)
    return result if max(result, default=0) <= MAX_DEGREE else None


def _without_zeros(polynomial: Mapping[int, float]) -> Polynomial:
    return {power: coefficient for power, coefficient in polynomial.items() if coefficient != 0}


def scaled(polynomial: Polynomial, factor: float) -> Polynomial:
    """The polynomial times a number."""
    return _without_zeros({power: coefficient * factor for power, coefficient in polynomial.items()})


def same(left: Polynomial, right: Polynomial, tolerance: float) -> bool:
    """Whether all coefficients agree to a relative tolerance."""
    if left.keys() != right.keys():
        return False
    return all(abs(left[power] - right[power]) <= tolerance * abs(right[power]) for power in right)
