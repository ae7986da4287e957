"""Arithmetic on one value is read as the polynomial it computes."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.frontend.graph import Graph, Uses
from gacer_tune.frontend.polynomial import MAX_DEGREE, expand, same
from tests.support.build import Array, model, node


class Expression:
    """A formula in x as nodes, and its value at some points."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.points = np.linspace(-2, 2, 9)
        self.values = {"x": self.points}

    def constant(self, number: float) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(number, np.float32)
        self.values[name] = np.full(9, number)
        return name

    def op(self, op_type: str, left: str, right: str) -> str:
        name = f"v{len(self.nodes)}"
        inputs = [left] if op_type == "Neg" else [left, right]
        self.nodes.append(node(op_type, inputs, [name]))
        a, b = self.values[left], self.values[right]
        compute = {"Add": a + b, "Sub": a - b, "Mul": a * b, "Div": a / np.where(b == 0, 1, b), "Neg": -a}
        self.values[name] = compute[op_type] if op_type != "Pow" else a**b
        return name

    def uses(self, result: str) -> Uses:
        return Uses.of(Graph.of(model(self.nodes, {"x": [9]}, [result], self.constants)))


def random_expression(data: st.DataObject) -> tuple[Expression, str]:
    """Each value but x is read once, as in a formula."""
    formula = Expression()
    waiting = ["x"]
    for _ in range(data.draw(st.integers(1, 6))):
        op_type = data.draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Neg", "Pow"]))
        left = waiting.pop() if waiting else "x"
        number = data.draw(st.sampled_from([0.5, 1.0, 2.0, 3.0, -2.0]))
        right = formula.constant(abs(number) if op_type == "Pow" else number)
        if op_type in ("Add", "Sub", "Mul") and data.draw(st.booleans()):
            right = "x"
        if op_type == "Pow" and formula.values[right][0] == 0.5:
            right = formula.constant(2.0)
        if op_type in ("Add", "Sub", "Mul") and data.draw(st.booleans()):
            left, right = right, left
        waiting.append(formula.op(op_type, left, right))
    return formula, waiting.pop()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_polynomial_has_the_values_of_the_formula(data: st.DataObject) -> None:
    formula, result = random_expression(data)
    uses = formula.uses(result)
    found = expand(uses, result, "x")
    if found is None:  # only because the degree is too high: the values then have no fit of that degree
        fit = np.polynomial.Polynomial.fit(formula.points, formula.values[result], MAX_DEGREE)
        assert not np.allclose(fit(formula.points), formula.values[result], rtol=1e-9, atol=1e-9)
        return
    value = sum(factor * formula.points**power for power, factor in found.items()) + np.zeros(9)
    np.testing.assert_allclose(value, formula.values[result], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("op_type", "left", "right", "wanted"),
    [
        ("Sub", "x", 2.0, {0: -2.0, 1: 1.0}),
        ("Sub", 2.0, "x", {0: 2.0, 1: -1.0}),
        ("Pow", "x", 3.0, {3: 1.0}),
        ("Pow", "x", 4.0, None),
        ("Pow", "x", 0.5, None),
        ("Pow", 2.0, "x", None),
        ("Div", 2.0, "x", None),
        ("Div", "x", 2.0, {1: 0.5}),
        ("Mul", "x", 0.0, {}),
    ],
)
def test_single_operators(op_type: str, left: str | float, right: str | float, wanted: dict[int, float] | None) -> None:
    formula = Expression()
    names = [item if isinstance(item, str) else formula.constant(item) for item in (left, right)]
    formula.nodes.append(node(op_type, names, ["y"]))
    built = model([*formula.nodes, node("Relu", ["y"], ["z"])], {"x": [9]}, ["z"], formula.constants)
    assert expand(Uses.of(Graph.of(built)), "y", "x") == wanted


def test_same_compares_relatively() -> None:
    assert same({1: 1.00005, 3: 2e-6}, {1: 1.0, 3: 2e-6}, 1e-4)
    assert not same({1: 1.0002}, {1: 1.0}, 1e-4)
    assert not same({1: 1.0}, {1: 1.0, 3: 1e-9}, 1e-4)
