"""BatchNormalization, Gemm and arithmetic with constants fold into the operator before."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from gacer_tune.frontend.nodes import attribute
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, Array, difference, model, node, op_types, random_inputs

RNG = np.random.default_rng(3)


def values(*shape: int, low: float = -1.0) -> Array:
    return RNG.uniform(low, 1.5, shape).astype(np.float32)


def statistics(channels: int) -> dict[str, Array]:
    """Scale, bias, mean and variance of a BatchNormalization."""
    return {"g": values(channels), "h": values(channels), "m": values(channels), "v": values(channels, low=0.5)}


def simplified(built: onnx.ModelProto) -> tuple[onnx.ModelProto, float]:
    """The simple model and how much its outputs differ."""
    simple = simplify(built)
    return simple, difference(built, simple, random_inputs(built))


def batchnorm(source: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return node("BatchNormalization", [source, "g", "h", "m", "v"], [output], **attributes)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
def test_batchnorm_folds_into_convolutions(op_type: str, group: int, bias: bool) -> None:
    weight = values(6, 4 // group, 3, 3) if op_type == "Conv" else values(4, 6 // group, 3, 3)
    constants = {"w": weight, "b": values(6), **statistics(6)}
    nodes = [node(op_type, ["x", "w", "b"][: 3 if bias else 2], ["c"], group=group), batchnorm("c", epsilon=1e-3)]
    simple, found = simplified(model(nodes, {"x": [2, 4, 5, 5]}, ["y"], constants))
    assert op_types(simple) == [op_type]
    assert found <= CLOSE


@pytest.mark.parametrize("bias", [(), (6,), (1, 6), (2, 6), (2, 1)])
def test_batchnorm_folds_into_gemm(bias: tuple[int, ...]) -> None:
    constants = {"w": values(4, 6), "b": values(*bias), **statistics(6)}
    simple, found = simplified(
        model([node("Gemm", ["x", "w", "b"], ["c"]), batchnorm("c")], {"x": [2, 4]}, ["y"], constants)
    )
    assert op_types(simple) == ["Gemm"]
    assert found <= CLOSE


def test_batchnorm_without_anything_to_fold_into() -> None:
    built = model([node("Relu", ["x"], ["r"]), batchnorm("r")], {"x": [2, 3, 4, 5]}, ["y"], statistics(3))
    simple, found = simplified(built)
    assert op_types(simple) == ["Relu", "Mul", "Add"]
    assert found <= CLOSE
    assert {tuple(item.dims) for item in simple.graph.initializer} == {(3, 1, 1)}


@pytest.mark.parametrize("shape", [[2, 3], [2, 3, 4]])
def test_batchnorm_of_other_ranks(shape: list[int]) -> None:
    simple, found = simplified(model([batchnorm("x")], {"x": shape}, ["y"], statistics(3)))
    assert op_types(simple) == ["Mul", "Add"]
    assert found <= CLOSE


def test_batchnorm_of_a_convolution_that_is_read_twice() -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), batchnorm("c"), node("Relu", ["c"], ["z"])]
    built = model(nodes, {"x": [1, 2, 3, 3]}, ["y", "z"], {"w": values(3, 2, 1, 1), **statistics(3)})
    simple = simplify(built)
    assert sorted(op_types(simple)) == ["Add", "Conv", "Mul", "Relu"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_batchnorm_of_a_convolution_that_is_an_output() -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), batchnorm("c")]
    built = model(nodes, {"x": [1, 2, 3, 3]}, ["c", "y"], {"w": values(3, 2, 1, 1), **statistics(3)})
    simple, found = simplified(built)
    assert op_types(simple) == ["Conv", "Mul", "Add"]
    assert found <= CLOSE


def test_weights_that_two_convolutions_share_are_scaled_apart() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        batchnorm("c", "p"),
        node("Conv", ["x", "w"], ["d"], dilations=[2, 2], kernel_shape=[1, 1]),
        node("Add", ["p", "d"], ["y"]),
    ]
    built = model(nodes, {"x": [1, 2, 3, 3]}, ["y"], {"w": values(3, 2, 1, 1), **statistics(3)})
    simple = simplify(built)
    assert sorted(op_types(simple)) == ["Add", "Conv", "Conv"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_a_chain_of_scales_folds_completely() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        batchnorm("c", "d"),
        node("Mul", ["d", "s"], ["e"]),
        node("Add", ["t", "e"], ["f"]),
        node("Sub", ["f", "t"], ["i"]),
        node("Sub", ["t", "i"], ["j"]),
        node("Div", ["j", "two"], ["y"]),
    ]
    constants = {
        "w": values(3, 2, 1, 1),
        "s": values(3, 1, 1),
        "t": values(1, 3, 1, 1),
        "two": np.float32(2),
        **statistics(3),
    }
    simple, found = simplified(model(nodes, {"x": [1, 2, 3, 3]}, ["y"], constants))
    assert op_types(simple) == ["Conv"]
    assert found <= CLOSE


def test_a_scale_along_another_axis_does_not_fold() -> None:
    # As many columns as channels: a constant of shape [3] scales the columns.
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "s"], ["y"])]
    simple, found = simplified(model(nodes, {"x": [1, 2, 3, 3]}, ["y"], {"w": values(3, 2, 1, 1), "s": values(3)}))
    assert op_types(simple) == ["Conv", "Mul"]
    assert found <= CLOSE


def test_a_constant_that_enlarges_the_value_does_not_fold() -> None:
    nodes = [node("Gemm", ["x", "w"], ["c"]), node("Mul", ["c", "s"], ["y"])]
    simple, found = simplified(model(nodes, {"x": [2, 4]}, ["y"], {"w": values(4, 3), "s": values(1, 2, 1)}))
    assert op_types(simple) == ["Gemm", "Mul"]
    assert found <= CLOSE


def test_division_by_and_of_a_constant() -> None:
    nodes = [node("Gemm", ["x", "w"], ["c"]), node("Div", ["s", "c"], ["y"])]
    simple, found = simplified(model(nodes, {"x": [2, 4]}, ["y"], {"w": values(4, 3, low=0.5), "s": values(3)}))
    assert op_types(simple) == ["Gemm", "Div"]
    assert found <= 1e-3


def test_half_precision_that_would_overflow_is_left_alone() -> None:
    constants = {"w": np.full((1, 1, 1, 1), 1e4, np.float16), "s": np.full((1, 1, 1), 1e4, np.float16)}
    types = {"x": TensorProto.FLOAT16, "y": TensorProto.FLOAT16}
    built = model(
        [node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "s"], ["y"])],
        {"x": [1, 1, 2, 2]},
        ["y"],
        constants,
        types=types,
    )
    assert op_types(simplify(built)) == ["Conv", "Mul"]


def test_integers_are_left_alone() -> None:
    types = {"x": TensorProto.INT32, "y": TensorProto.INT32}
    constants = {"w": np.ones((2, 3), np.int32), "c": np.ones((2, 3), np.int32)}
    built = model(
        [node("Gemm", ["x", "w"], ["a"]), node("Add", ["a", "c"], ["y"])], {"x": [2, 2]}, ["y"], constants, types=types
    )
    assert op_types(simplify(built)) == ["Gemm", "Add"]  # ONNX Runtime has no such Gemm to compare with


def test_a_batchnorm_that_trains_is_left_alone() -> None:
    nodes = [node("BatchNormalization", ["x", "g", "h", "m", "v"], ["y", "mean", "var"], training_mode=1)]
    built = model(nodes, {"x": [2, 3, 4]}, ["y"], statistics(3))
    assert op_types(simplify(built)) == ["BatchNormalization"]


def test_batchnorm_with_statistics_from_outside_is_left_alone() -> None:
    constants = statistics(3)
    del constants["v"]
    built = model([batchnorm("x")], {"x": [2, 3, 4], "v": [3]}, ["y"], constants)
    assert op_types(simplify(built)) == ["BatchNormalization"]


def plain(built: onnx.ModelProto) -> bool:
    """Whether every Gemm is A B + C."""
    gemms = [item for item in built.graph.node if item.op_type == "Gemm"]
    return bool(gemms) and all(
        not attribute(item, "transA", 0)
        and not attribute(item, "transB", 0)
        and attribute(item, "alpha", 1.0) == attribute(item, "beta", 1.0) == 1.0
        for item in gemms
    )


@pytest.mark.parametrize("constant_b", [False, True])
@pytest.mark.parametrize("constant_c", [None, False, True])
@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, -2.0), (2.0, 0.0)])
def test_gemm_is_made_plain(
    constant_b: bool, constant_c: bool | None, trans_a: int, trans_b: int, alpha: float, beta: float
) -> None:
    operands = {"b": values(*((3, 4) if trans_b else (4, 3))), "c": values(3)}
    constants = {name: value for name, value in operands.items() if {"b": constant_b, "c": constant_c}[name]}
    inputs = {"a": [4, 2] if trans_a else [2, 4]}
    inputs |= {
        name: list(value.shape) for name, value in operands.items() if {"b": constant_b, "c": constant_c}[name] is False
    }
    names = ["a", "b"] if constant_c is None else ["a", "b", "c"]
    gemm = node("Gemm", names, ["y"], alpha=alpha, beta=beta, transA=trans_a, transB=trans_b)
    built = model([gemm], inputs, ["y"], constants)
    simple = simplify(built)
    assert plain(simple)
    assert difference(built, simple, random_inputs(built)) <= CLOSE
    if beta == 0:
        assert all(len(item.input) == 2 for item in simple.graph.node if item.op_type == "Gemm")
    if constant_b and constant_c is not False and not trans_a:
        assert op_types(simple) == ["Gemm"]


def test_gemm_of_integers_with_factors_is_left_alone() -> None:
    types = {"x": TensorProto.INT32, "y": TensorProto.INT32}
    built = model(
        [node("Gemm", ["x", "w"], ["y"], alpha=0.5)],
        {"x": [2, 2]},
        ["y"],
        {"w": np.ones((2, 3), np.int32)},
        types=types,
    )
    assert attribute(simplify(built).graph.node[0], "alpha", 1.0) == 0.5


@given(
    st.lists(st.sampled_from(["scale", "shift", "norm", "relu", "column"]), min_size=1, max_size=6),
    st.sampled_from([1, 2]),
)
@settings(max_examples=25, deadline=None)
def test_any_chain_after_a_convolution_computes_the_same(steps: list[str], group: int) -> None:
    constants = {"w": values(4, 4 // group, 3, 3), **statistics(4), "s": values(4, 1, 1), "r": values(4)}
    nodes = [node("Conv", ["x", "w"], ["v0"], group=group)]
    for index, step in enumerate(steps):
        source, output = f"v{index}", f"v{index + 1}"
        made = {
            "scale": node("Mul", ["s", source], [output]),
            "shift": node("Add", [source, "s"], [output]),
            "norm": batchnorm(source, output),
            "relu": node("Relu", [source], [output]),
            "column": node("Mul", [source, "r"], [output]),
        }
        nodes.append(made[step])
    built = model(nodes, {"x": [1, 4, 6, 6]}, [f"v{len(steps)}"], constants)
    simple = simplify(built)
    assert "BatchNormalization" not in op_types(simple)
    first = next((index for index, step in enumerate(steps) if step in ("relu", "column")), len(steps))
    assert len(op_types(simple)) <= 1 + 2 * (len(steps) - first)
    assert difference(built, simple, random_inputs(built)) <= 1e-4
