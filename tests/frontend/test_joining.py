"""Products of one value that become one product."""

import numpy as np
import onnx
import pytest

from gacer_tune.frontend.simplify import simplify
from tests.support.build import Array, model, node, op_types, random_inputs, run

WIDTHS = (4, 6, 2)


def constants(biases: bool, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    found = {f"w{i}": rng.standard_normal((5, width)).astype(np.float32) for i, width in enumerate(WIDTHS)}
    if biases:
        found |= {f"b{i}": rng.standard_normal(width).astype(np.float32) for i, width in enumerate(WIDTHS)}
    return found


def products(biases: bool = True, readers: str = "Transpose", opset: int = 17) -> onnx.ModelProto:
    nodes = []
    for i in range(len(WIDTHS)):
        nodes.append(node("MatMul", ["x", f"w{i}"], [f"m{i}"]))
        if biases:
            nodes.append(node("Add", [f"m{i}", f"b{i}"] if i % 2 else [f"b{i}", f"m{i}"], [f"s{i}"]))
        nodes.append(node(readers, [nodes[-1].output[0]], [f"y{i}"]))
    return model(nodes, {"x": (2, 3, 5)}, [f"y{i}" for i in range(len(WIDTHS))], constants(biases), opset=opset)


def largest_difference(one: onnx.ModelProto, other: onnx.ModelProto) -> float:
    feeds = random_inputs(one)
    pairs = list(zip(run(one, feeds), run(other, feeds), strict=True))
    assert [a.shape for a, _ in pairs] == [b.shape for _, b in pairs]
    return max(float(np.abs(a - b).max()) for a, b in pairs)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("biases", [True, False])
def test_products_of_one_value_are_one(biases: bool, opset: int) -> None:
    built = products(biases, opset=opset)
    simple = simplify(built)
    assert op_types(simple) == ["MatMul", *["Add"] * biases, "Split", *["Transpose"] * 3]
    assert largest_difference(built, simple) <= 1e-5


def test_the_order_of_the_outputs_is_kept() -> None:
    simple = simplify(products())
    split = next(item for item in simple.graph.node if item.op_type == "Split")
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in simple.graph.value_info}
    assert [shapes[name] for name in split.output] == [[2, 3, width] for width in WIDTHS]


def test_what_goes_on_into_elementwise_operators_stays_apart() -> None:
    assert sorted(op_types(simplify(products(readers="Relu")))) == ["Add"] * 3 + ["MatMul"] * 3 + ["Relu"] * 3


def test_outputs_of_the_model_stay_apart() -> None:
    nodes = [node("MatMul", ["x", f"w{i}"], [f"y{i}"]) for i in range(2)]
    built = model(nodes, {"x": (3, 5)}, ["y0", "y1"], constants(False))
    assert op_types(simplify(built)) == ["MatMul", "MatMul"]


def test_products_of_different_values_stay_apart() -> None:
    nodes = [node("MatMul", [f"x{i}", f"w{i}"], [f"m{i}"]) for i in range(2)]
    nodes += [node("Transpose", [f"m{i}"], [f"y{i}"]) for i in range(2)]
    built = model(nodes, {"x0": (3, 5), "x1": (3, 5)}, ["y0", "y1"], constants(False))
    assert sorted(op_types(simplify(built))) == ["MatMul", "MatMul", "Transpose", "Transpose"]


def test_only_products_with_a_bias_join_those_with_a_bias() -> None:
    nodes = [node("MatMul", ["x", f"w{i}"], [f"m{i}"]) for i in range(3)]
    nodes.append(node("Add", ["m0", "b0"], ["s0"]))
    nodes += [node("Transpose", [name], [f"y{i}"]) for i, name in enumerate(("s0", "m1", "m2"))]
    built = model(nodes, {"x": (3, 5)}, ["y0", "y1", "y2"], constants(True))
    simple = simplify(built)
    assert sorted(op_types(simple)) == sorted(["MatMul"] * 2 + ["Add", "Split"] + ["Transpose"] * 3)
    assert largest_difference(built, simple) <= 1e-5
