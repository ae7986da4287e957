"""Layer normalisation, named or spelt out, becomes gacer.LayerNorm."""

import numpy as np
import onnx
import pytest

from gacer_tune.frontend.nodes import attribute
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, Array, difference, model, node, op_types, random_inputs

SHAPE = [2, 3, 4]
RNG = np.random.default_rng(5)


def reduce_mean(source: str, output: str, axes: list[int], opset: int, **attributes: int) -> onnx.NodeProto:
    if opset < 18:
        return node("ReduceMean", [source], [output], axes=axes, **attributes)
    return node("ReduceMean", [source, "axes"], [output], **attributes)


def spelt_out(
    axes: list[int], square: str = "Pow", quotient: str = "Div", opset: int = 17, affine: bool = True
) -> onnx.ModelProto:
    """The usual spelling; the constants' shape is that of the normalised axes."""
    nodes = [
        reduce_mean("x", "m", axes, opset),
        node("Sub", ["x", "m"], ["d"]),
        node("Pow", ["d", "two"], ["q"]) if square == "Pow" else node("Mul", ["d", "d"], ["q"]),
        reduce_mean("q", "v", axes, opset),
        node("Add", ["v", "e"], ["ve"]),
        node("Sqrt", ["ve"], ["s"]) if quotient != "Pow" else node("Pow", ["ve", "half"], ["s"]),
    ]
    if quotient == "Reciprocal":
        nodes += [node("Reciprocal", ["s"], ["i"]), node("Mul", ["i", "d"], ["n"])]
    elif quotient == "inverse":
        nodes += [node("Div", ["one", "s"], ["i"]), node("Mul", ["d", "i"], ["n"])]
    else:
        nodes += [node("Div", ["d", "s"], ["n"])]
    if affine:
        nodes += [node("Mul", ["n", "g"], ["ng"]), node("Add", ["b", "ng"], ["y"])]
    normalised = [SHAPE[axis] for axis in sorted(axis % 3 for axis in axes)]
    return model(nodes, {"x": SHAPE}, ["y" if affine else "n"], constants(axes, normalised), opset=opset)


def constants(axes: list[int], normalised: list[int]) -> dict[str, Array]:
    return {
        **{"two": np.float32(2), "half": np.float32(0.5), "one": np.float32(1), "e": np.float32(1e-3)},
        "axes": np.asarray(axes, np.int64),
        "g": RNG.uniform(0.5, 1.5, normalised).astype(np.float32),
        "b": RNG.uniform(-1, 1, normalised).astype(np.float32),
    }


@pytest.mark.parametrize("opset", [9, 17, 18])
@pytest.mark.parametrize("quotient", ["Div", "Reciprocal", "inverse", "Pow"])
@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_spellings(square: str, quotient: str, opset: int) -> None:
    built = spelt_out([-1], square, quotient, opset)
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm"]
    assert attribute(simple.graph.node[0], "axis", -9) == 2
    assert attribute(simple.graph.node[0], "epsilon", 0.0) == pytest.approx(1e-3)
    assert difference(built, simple, random_inputs(built)) <= CLOSE


@pytest.mark.parametrize(("axes", "wanted"), [([1, 2], 1), ([-1, -2], 1), ([0, 1, 2], 0), ([2], 2)])
def test_axes(axes: list[int], wanted: int) -> None:
    built = spelt_out(axes)
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm"]
    assert attribute(simple.graph.node[0], "axis", -9) == wanted
    assert difference(built, simple, random_inputs(built)) <= CLOSE


@pytest.mark.parametrize("axes", [[0], [1], [0, 1], [0, 2]])
def test_axes_that_are_not_the_last_ones(axes: list[int]) -> None:
    built = spelt_out(axes, affine=False)
    assert "gacer.LayerNorm" not in op_types(simplify(built))


def test_without_scale_and_bias() -> None:
    built = spelt_out([-1], affine=False)
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm"]
    values = sorted(onnx.numpy_helper.to_array(item).tolist() for item in simple.graph.initializer)
    assert values == [[0.0] * 4, [1.0] * 4]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_a_scale_that_is_no_constant_stays_outside() -> None:
    built = spelt_out([-1])
    kept = [item for item in built.graph.initializer if item.name != "g"]
    del built.graph.initializer[:]
    built.graph.initializer.extend(kept)
    built.graph.input.append(onnx.helper.make_tensor_value_info("g", 1, [4]))
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm", "Mul", "Add"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


@pytest.mark.parametrize("name", ["m", "d", "q", "v", "s"])
def test_intermediate_values_that_are_outputs_are_kept(name: str) -> None:
    built = spelt_out([-1], affine=False)
    built.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    simple = simplify(built)
    assert "gacer.LayerNorm" not in op_types(simple)
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_a_deviation_computed_twice() -> None:
    built = spelt_out([-1])
    built.graph.node.insert(6, node("Sub", ["x", "m"], ["d2"]))
    next(item for item in built.graph.node if item.op_type == "Div").input[0] = "d2"
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


@pytest.mark.parametrize("change", ["exponent", "keepdims", "other mean", "other variance", "swapped"])
def test_look_alikes(change: str) -> None:
    built = spelt_out([-1], affine=False)
    nodes = {item.output[0]: item for item in built.graph.node}
    if change == "exponent":
        nodes["q"].input[1] = "one"
    if change == "keepdims":
        for name in ("m", "v"):
            nodes[name].attribute.append(onnx.helper.make_attribute("keepdims", 0))
        built.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
        built.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    if change == "other mean":
        nodes["m"].attribute[0].ints[:] = [1]
    if change == "other variance":
        nodes["v"].attribute[0].ints[:] = [1, 2]
    if change == "swapped":
        nodes["d"].input[:] = ["m", "x"]
    simple = simplify(built)
    assert "gacer.LayerNorm" not in op_types(simple)
    assert difference(built, simple, random_inputs(built)) <= CLOSE


@pytest.mark.parametrize("axis", [-1, 1, 0])
@pytest.mark.parametrize("bias", [False, True])
def test_the_operator_of_onnx(axis: int, bias: bool) -> None:
    values = constants([], SHAPE[axis:])
    names = ["x", "g", "b"] if bias else ["x", "g"]
    built = model([node("LayerNormalization", names, ["y"], axis=axis, epsilon=1e-2)], {"x": SHAPE}, ["y"], values)
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm"]
    assert attribute(simple.graph.node[0], "axis", -9) == axis % 3
    assert [tuple(item.dims) for item in simple.graph.initializer] == [tuple(SHAPE[axis:])] * 2
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_the_operator_with_a_scale_to_broadcast() -> None:
    nodes, scale = [node("LayerNormalization", ["x", "g"], ["y"], axis=1)], np.array([[1, 2, 3, 4]], np.float32)
    simple = simplify(model(nodes, {"x": SHAPE}, ["y"], {"g": scale}))
    assert op_types(simple) == ["gacer.LayerNorm"]
    # The last ONNX Runtime for Python 3.10 takes only a scale that is written out.
    whole = model(nodes, {"x": SHAPE}, ["y"], {"g": np.repeat(scale, SHAPE[1], axis=0)})
    assert difference(whole, simple, random_inputs(whole)) <= CLOSE


def test_the_operator_with_a_scale_from_outside() -> None:
    built = model([node("LayerNormalization", ["x", "g"], ["y"])], {"x": SHAPE, "g": [4]}, ["y"])
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_the_operator_whose_mean_is_read_stays() -> None:
    nodes = [node("LayerNormalization", ["x", "g"], ["y", "mean"])]
    built = model(nodes, {"x": SHAPE}, ["y", "mean"], {"g": np.ones(4, np.float32)})
    assert op_types(simplify(built)) == ["LayerNormalization"]


def test_scales_behind_it_are_folded_in() -> None:
    nodes = [
        node("LayerNormalization", ["x", "g", "b"], ["n"]),
        node("Mul", ["n", "g"], ["p"]),
        node("Sub", ["p", "b"], ["y"]),
    ]
    built = model(nodes, {"x": SHAPE}, ["y"], constants([], [4]))
    simple = simplify(built)
    assert op_types(simple) == ["gacer.LayerNorm"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE
