"""Constant folding, Identity, Dropout and Sum: fewer nodes, the same values."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from gacer_tune.frontend import fold
from gacer_tune.frontend.elementary import remove_identities
from gacer_tune.frontend.fold import fold_constants
from gacer_tune.frontend.graph import Graph, TensorType
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, INT64, Array, difference, model, node, op_types, random_inputs, run


def folded(built: onnx.ModelProto) -> onnx.ModelProto:
    graph = Graph.of(built)
    fold_constants(graph)
    return graph.to_model()


def constants(built: onnx.ModelProto) -> dict[str, Array]:
    return {item.name: onnx.numpy_helper.to_array(item) for item in built.graph.initializer}


def simplified(built: onnx.ModelProto) -> tuple[onnx.ModelProto, float]:
    """The simple model and how much its outputs differ."""
    simple = simplify(built)
    return simple, difference(built, simple, random_inputs(built))


def test_a_flatten_computed_from_shapes_becomes_a_reshape_by_a_constant() -> None:
    built = model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Unsqueeze", ["n", "axes"], ["n1"]),
            node("Concat", ["n1", "minus"], ["t"], axis=0),
            node("Reshape", ["x", "t"], ["y"]),
        ],
        {"x": [2, 3, 4]},
        ["y"],
        {"zero": np.array(0), "axes": np.array([0]), "minus": np.array([-1])},
    )
    simple, found = simplified(built)
    assert op_types(simple) == ["Reshape"]
    assert found <= CLOSE


@pytest.mark.parametrize(
    ("start", "end", "wanted"), [(None, None, [2, 3, 4]), (1, None, [3, 4]), (-2, -1, [3]), (0, 9, [2, 3, 4])]
)
def test_shape_with_limits(start: int | None, end: int | None, wanted: list[int]) -> None:
    limits = {name: value for name, value in (("start", start), ("end", end)) if value is not None}
    built = model([node("Shape", ["x"], ["y"], **limits)], {"x": [2, 3, 4]}, ["y"], types={"y": INT64})
    assert run(built, random_inputs(built))[0].tolist() == wanted
    assert [value.tolist() for value in constants(folded(built)).values()] == [wanted]


def test_size_range_eyelike_constant_of_shape() -> None:
    value = onnx.helper.make_tensor("v", TensorProto.FLOAT, [1], [2.5])
    built = model(
        [
            node("Size", ["x"], ["size"]),
            node("Range", ["zero", "size", "one"], ["r"]),
            node("Cast", ["r"], ["rf"], to=1),
            node("EyeLike", ["x"], ["eye"], k=1),
            node("ConstantOfShape", ["two"], ["c"], value=value),
            node("Add", ["x", "eye"], ["a"]),
            node("Add", ["a", "c"], ["b"]),
            node("Reshape", ["rf", "target"], ["rr"]),
            node("Add", ["b", "rr"], ["y"]),
        ],
        {"x": [2, 3]},
        ["y"],
        {"zero": np.array(0), "one": np.array(1), "two": np.array([2, 3]), "target": np.array([2, 3])},
    )
    simple = folded(built)
    assert op_types(simple) == ["Add", "Add", "Add"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_random_operators_are_not_folded() -> None:
    built = model(
        [node("RandomNormal", [], ["r"], shape=[2], seed=1.0), node("Add", ["x", "r"], ["y"])], {"x": [2]}, ["y"]
    )
    assert op_types(folded(built)) == ["RandomNormal", "Add"]


def test_large_results_are_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    built = model(
        [node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])],
        {"x": [100]},
        ["y"],
        {"s": np.array([100])},
    )
    monkeypatch.setattr(fold, "MAX_FOLDED_NBYTES", 407)  # 8 bytes of shape and 400 of result
    assert op_types(folded(built)) == ["ConstantOfShape", "Add"]
    monkeypatch.setattr(fold, "MAX_FOLDED_NBYTES", 408)
    assert op_types(folded(built)) == ["Add"]


def test_a_result_that_disagrees_with_its_type_is_not_used() -> None:
    built = model(
        [node("Neg", ["c"], ["n"]), node("Add", ["x", "n"], ["y"])], {"x": [2]}, ["y"], {"c": np.ones(2, "f")}
    )
    graph = Graph.of(built)
    for wrong in (TensorType(TensorProto.FLOAT, (1, 2)), TensorType(TensorProto.DOUBLE, (2,))):
        graph.types["n"] = wrong
        assert fold._evaluate(graph.nodes[0], graph) is None
    graph.types["n"] = TensorType(TensorProto.FLOAT, (2,))
    assert fold._evaluate(graph.nodes[0], graph) is not None


def test_a_huge_constant_is_never_allocated() -> None:
    built = model(
        [node("ConstantOfShape", ["s"], ["c"]), node("ReduceMax", ["c"], ["m"]), node("Add", ["x", "m"], ["y"])],
        {"x": [1]},
        ["y"],
        {"s": np.array([2**16, 2**17])},
    )
    assert op_types(folded(built)) == ["ConstantOfShape", "ReduceMax", "Add"]


def test_softmax_of_old_operator_sets_is_not_folded() -> None:
    values = {"c": np.arange(8, dtype=np.float32).reshape(2, 2, 2)}
    for opset, wanted in ((12, ["Softmax", "Add"]), (13, ["Add"])):
        nodes = [node("Softmax", ["c"], ["s"]), node("Add", ["x", "s"], ["y"])]
        built = model(nodes, {"x": [2, 2, 2]}, ["y"], values, opset=opset)
        assert op_types(folded(built)) == wanted
        assert difference(built, folded(built), random_inputs(built)) <= CLOSE


def test_the_operator_set_decides_what_a_node_means() -> None:
    for opset, extra, attributes in ((9, [], {"axes": [0]}), (13, ["axes"], {})):
        nodes = [node("Unsqueeze", ["c", *extra], ["u"], **attributes), node("Add", ["x", "u"], ["y"])]
        values = {"c": np.ones(3, np.float32), "axes": np.array([0])}
        built = model(nodes, {"x": [2, 3]}, ["y"], values, opset=opset)
        assert op_types(folded(built)) == ["Add"]
        assert difference(built, folded(built), random_inputs(built)) <= CLOSE


def test_a_graph_output_that_is_constant_keeps_its_name() -> None:
    built = model(
        [node("Neg", ["c"], ["y"]), node("Relu", ["x"], ["z"])], {"x": [2]}, ["y", "z"], {"c": np.ones(2, np.float32)}
    )
    simple, found = simplified(built)
    assert op_types(simple) == ["Identity", "Relu"]
    assert found <= CLOSE


def test_identities_disappear_and_outputs_keep_their_names() -> None:
    built = model(
        [
            node("Identity", ["x"], ["a"]),
            node("Relu", ["a"], ["b"]),
            node("Identity", ["b"], ["c"]),
            node("Identity", ["c"], ["y"]),
            node("Neg", ["b"], ["z"]),
        ],
        {"x": [2]},
        ["y", "z"],
    )
    simple, found = simplified(built)
    assert op_types(simple) == ["Relu", "Neg"]
    assert found <= CLOSE


def test_identities_that_must_stay() -> None:
    built = model(
        [
            node("Identity", ["x"], ["p"]),
            node("Identity", ["w"], ["q"]),
            node("Relu", ["x"], ["r"]),
            node("Identity", ["r"], ["s"]),
            node("Identity", ["s"], ["t"]),
        ],
        {"x": [2]},
        ["p", "q", "r", "s", "t"],
        {"w": np.ones(2, np.float32)},
    )
    graph = Graph.of(built)
    remove_identities(graph)
    assert [(item.op_type, item.input[0], item.output[0]) for item in graph.nodes] == [
        ("Identity", "x", "p"),
        ("Identity", "w", "q"),
        ("Relu", "x", "r"),
        ("Identity", "r", "s"),
        ("Identity", "s", "t"),
    ]
    simple, found = simplified(built)
    assert op_types(simple) == ["Identity", "Identity", "Relu", "Identity", "Identity"]
    assert found <= CLOSE


def test_one_value_as_two_outputs() -> None:
    built = model(
        [node("Relu", ["x"], ["r"]), node("Identity", ["r"], ["p"]), node("Identity", ["r"], ["q"])],
        {"x": [2]},
        ["p", "q"],
    )
    simple, found = simplified(built)
    assert op_types(simple) == ["Relu", "Identity"]
    assert found <= CLOSE


def test_one_value_as_two_outputs_by_a_detour() -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Identity", ["r"], ["i"])]
    nodes += [node("Identity", ["r"], ["p"]), node("Identity", ["i"], ["q"])]
    simple, found = simplified(model(nodes, {"x": [2]}, ["p", "q"]))
    assert op_types(simple) == ["Relu", "Identity"]
    assert found <= CLOSE


def test_identity_into_a_subgraph_is_kept() -> None:
    branch = onnx.helper.make_graph(
        [node("Neg", ["i"], ["o"])], "branch", [], [onnx.helper.make_tensor_value_info("o", TensorProto.FLOAT, [2])]
    )
    built = model(
        [
            node("Relu", ["x"], ["r"]),
            node("Identity", ["r"], ["i"]),
            node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ],
        {"x": [2], "c": []},
        ["y"],
        types={"c": TensorProto.BOOL},
    )
    graph = Graph.of(built)
    remove_identities(graph)
    assert [item.op_type for item in graph.nodes] == ["Relu", "Identity", "If"]
    assert difference(built, simplify(built), random_inputs(built)) <= CLOSE


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 17])
def test_dropout_of_inference_disappears(opset: int) -> None:
    nodes = [node("Dropout", ["x"], ["d"]), node("Relu", ["d"], ["r"]), node("Dropout", ["r"], ["y", "mask"])]
    simple, found = simplified(model(nodes, {"x": [2]}, ["y"], opset=opset))
    assert op_types(simple) == ["Relu"]
    assert found <= CLOSE


def test_dropout_that_does_not_train_by_a_constant() -> None:
    constants = {"ratio": np.float32(0.5), "no": np.array(False)}
    nodes = [node("Relu", ["x"], ["r"]), node("Dropout", ["r", "ratio", "no"], ["y"])]
    simple, found = simplified(model(nodes, {"x": [2]}, ["y"], constants))
    assert op_types(simple) == ["Relu"]
    assert found <= CLOSE


def test_dropout_that_trains_stays() -> None:
    constants = {"ratio": np.float32(0.5), "yes": np.array(True)}
    nodes = [node("Relu", ["x"], ["r"]), node("Dropout", ["r", "ratio", "yes"], ["d"]), node("Neg", ["d"], ["y"])]
    assert "Dropout" in op_types(folded(model(nodes, {"x": [2]}, ["y"], constants)))


def test_dropout_whose_mask_is_read_stays() -> None:
    nodes = [node("Dropout", ["x"], ["d", "mask"]), node("Relu", ["d"], ["y"])]
    built = model(nodes, {"x": [2]}, ["y", "mask"], types={"mask": TensorProto.BOOL})
    assert "Dropout" in op_types(simplify(built))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_sum_becomes_adds(count: int) -> None:
    names = [f"x{i}" for i in range(count)]
    built = model([node("Sum", names, ["s"]), node("Relu", ["s"], ["y"])], {name: [2, 3] for name in names}, ["y"])
    simple, found = simplified(built)
    assert op_types(simple) == ["Add"] * (count - 1) + ["Relu"]
    assert found <= CLOSE


def test_sum_that_broadcasts() -> None:
    built = model([node("Sum", ["a", "b", "c"], ["y"])], {"a": [2, 1], "b": [3], "c": []}, ["y"])
    simple, found = simplified(built)
    assert op_types(simple) == ["Add", "Add"]
    assert found <= CLOSE


def test_unused_nodes_and_constants_are_dropped() -> None:
    built = model(
        [node("Relu", ["x"], ["y"]), node("Add", ["x", "w"], ["unused"])],
        {"x": [2]},
        ["y"],
        {"w": np.ones(2, np.float32)},
    )
    simple = simplify(built)
    assert op_types(simple) == ["Relu"]
    assert not simple.graph.initializer


def test_inputs_nobody_reads_stay() -> None:
    built = model([node("Relu", ["x"], ["y"])], {"unused": [3], "x": [2]}, ["y"])
    assert [item.name for item in simplify(built).graph.input] == ["unused", "x"]
