"""Operators, names and order: what is refused and what is put right."""

from pathlib import Path

import onnx
import pytest
from onnx import helper

from gacer_tune.errors import UserError
from gacer_tune.frontend import structure
from gacer_tune.frontend.safety import read_model
from tests.support.build import difference, model, node, random_inputs


def read(folder: Path, built: onnx.ModelProto) -> onnx.ModelProto:
    path = folder / "m.onnx"
    path.write_bytes(built.SerializeToString())
    return read_model(path)


def refusal(folder: Path, built: onnx.ModelProto) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, built)
    return str(caught.value).removeprefix(f"{folder / 'm.onnx'}: ")


def chain(*names: str) -> onnx.ModelProto:
    nodes = [node("Relu", [source], [name]) for source, name in zip(("x", *names), names, strict=False)]
    return model(nodes, {"x": [2]}, [names[-1]])


def test_custom_operators_are_listed_by_domain(tmp_path: Path) -> None:
    built = chain("a", "y")
    built.graph.node.append(node("PackedAttention", ["a"], ["b"], domain="com.microsoft", name="attn"))
    built.graph.node.append(node("Blob", ["a"], ["c"], domain="acme", name=""))
    for domain in ("com.microsoft", "acme"):
        built.opset_import.append(helper.make_opsetid(domain, 1))
    assert refusal(tmp_path, built) == (
        "custom operators are not supported, only ai.onnx and some of com.microsoft: acme: c (Blob);"
        " com.microsoft: attn (PackedAttention)"
    )


def test_what_onnxruntime_saves_for_one_processor_is_refused_with_a_hint(tmp_path: Path) -> None:
    built = model([node("Conv", ["x"], ["y"], domain="com.microsoft.nchwc")], {"x": [2]}, ["y"])
    built.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    assert refusal(tmp_path, built) == (
        "custom operators are not supported, only ai.onnx and some of com.microsoft: com.microsoft.nchwc: n_y (Conv);"
        " let ONNX Runtime save it with ORT_ENABLE_EXTENDED at most"
    )


def test_long_lists_are_cut(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.node.extend(node("Blob", ["x"], [f"b{i}"], domain="acme", name=f"n{i}") for i in range(13))
    assert refusal(tmp_path, built).endswith(", n8 (Blob), n9 (Blob) and 3 more")


def test_our_own_domain_is_custom_in_a_file(tmp_path: Path) -> None:
    built = model([node("Silu", ["x"], ["y"], domain="gacer")], {"x": [2]}, ["y"])
    assert (
        refusal(tmp_path, built)
        == "custom operators are not supported, only ai.onnx and some of com.microsoft: gacer: n_y (Silu)"
    )


def test_the_long_spelling_of_the_default_domain_is_shortened(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.node[0].domain = "ai.onnx"
    built.opset_import[0].domain = "ai.onnx"
    assert [item.domain for item in read(tmp_path, built).graph.node] == [""]


def test_unused_imports_are_dropped(tmp_path: Path) -> None:
    built = chain("y")
    built.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert [item.domain for item in read(tmp_path, built).opset_import] == [""]


@pytest.mark.parametrize("version", [6, 999])
def test_operator_sets_out_of_range(tmp_path: Path, version: int) -> None:
    built = chain("y")
    built.opset_import[0].version = version
    newest = onnx.defs.onnx_opset_version()
    assert refusal(tmp_path, built) == f"operator set {version} is not supported, only 7 to {newest}"


def test_no_default_operator_set(tmp_path: Path) -> None:
    built = chain("y")
    built.opset_import[0].domain = "acme"
    text = "imports 0 versions of the operator set ai.onnx, exactly 1 is allowed"
    assert refusal(tmp_path, built) == text


def test_training_information(tmp_path: Path) -> None:
    built = chain("y")
    built.training_info.add()
    assert refusal(tmp_path, built) == "the model has training information, export it for inference"


def test_sparse_constants(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.sparse_initializer.add().values.name = "s"
    assert refusal(tmp_path, built) == "sparse constant 's' is not supported, only dense ones"


def test_values_with_two_makers(tmp_path: Path) -> None:
    built = chain("a", "y")
    built.graph.node.append(node("Relu", ["x"], ["a"]))
    assert refusal(tmp_path, built) == "value defined more than once: a"


def test_a_node_that_makes_an_input(tmp_path: Path) -> None:
    built = chain("a", "y")
    built.graph.node.append(node("Relu", ["a"], ["x"]))
    assert refusal(tmp_path, built) == "value defined more than once: x"


def test_inputs_declared_twice(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.input.append(built.graph.input[0])
    assert refusal(tmp_path, built) == "input defined more than once: x"


def test_outputs_declared_twice(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.output.append(built.graph.output[0])
    assert refusal(tmp_path, built) == "output defined more than once: y"


def test_constants_defined_twice(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.initializer.extend([helper.make_tensor("w", 1, [1], [0.0])] * 2)
    assert refusal(tmp_path, built) == "constant defined more than once: w"


def test_values_nothing_makes(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.node[0].input[0] = "q"
    assert refusal(tmp_path, built) == "node 'n_y' (Relu) reads values that nothing makes: q"


def test_outputs_nothing_makes(tmp_path: Path) -> None:
    built = chain("y")
    built.graph.output[0].name = "z"
    assert refusal(tmp_path, built) == "graph outputs that nothing makes: z"


def test_cycles_are_named(tmp_path: Path) -> None:
    built = model(
        [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])], {"x": [1]}, ["y"]
    )
    text = refusal(tmp_path, built)
    assert text in ("the graph has a cycle: 'n_a' -> 'n_b' -> 'n_a'", "the graph has a cycle: 'n_b' -> 'n_a' -> 'n_b'")


def test_unsorted_nodes_are_sorted(tmp_path: Path) -> None:
    built = chain("a", "b", "y")
    shuffled = chain("a", "b", "y")
    nodes = list(built.graph.node)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes[::-1])
    assert [item.name for item in read(tmp_path, shuffled).graph.node] == ["n_a", "n_b", "n_y"]


def test_nodes_get_names_of_their_own(tmp_path: Path) -> None:
    built = chain("a", "b", "c", "y")
    for item, name in zip(built.graph.node, ("same", "same", "", "Relu_1"), strict=True):
        item.name = name
    names = [item.name for item in read(tmp_path, built).graph.node]
    assert names == ["same", "Relu_1_", "Relu_2", "Relu_1"]


def function(name: str, *calls: str) -> onnx.FunctionProto:
    """acme.name(x): Relu and then the called functions."""
    nodes = [node("Relu", ["x"], ["v0"])]
    nodes += [node(called, [f"v{i}"], [f"v{i + 1}"], domain="acme") for i, called in enumerate(calls)]
    nodes.append(node("Neg", [f"v{len(calls)}"], ["z"]))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    return helper.make_function("acme", name, ["x"], ["z"], nodes, imports)


def with_functions(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    built = model([node("F", ["x"], ["y"], domain="acme")], {"x": [2]}, ["y"])
    built.opset_import.append(helper.make_opsetid("acme", 1))
    built.functions.extend(functions)
    return built


def test_functions_are_inlined(tmp_path: Path) -> None:
    built = with_functions(function("F", "G", "G"), function("G"))
    inlined = read(tmp_path, built)
    assert not inlined.functions
    assert [item.op_type for item in inlined.graph.node] == ["Relu", "Relu", "Neg", "Relu", "Neg", "Neg"]
    assert difference(with_output_shape(built), with_output_shape(inlined), {"x": random_inputs(built)["x"]}) <= 0


def with_output_shape(built: onnx.ModelProto) -> onnx.ModelProto:
    for item in built.graph.output:
        item.type.tensor_type.shape.dim.add().dim_value = 2
    return built


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    text = refusal(tmp_path, with_functions(function("F", "G"), function("G", "F")))
    assert text.startswith("functions call each other in a circle: acme.")


def test_functions_that_explode(tmp_path: Path) -> None:
    functions = [
        function(name, following, following)
        for name, following in zip("FABCDEHIJKLMNOP", "ABCDEHIJKLMNOPQ", strict=True)
    ]
    text = refusal(tmp_path, with_functions(*functions, function("Q")))
    assert text == "the model's functions stand for 196604 nodes, at most 100000 and 2 GiB"


def test_calls_of_unknown_functions_are_custom_operators(tmp_path: Path) -> None:
    text = refusal(tmp_path, with_functions(function("G")))
    assert text == "custom operators are not supported, only ai.onnx and some of com.microsoft: acme: n_y (F)"


def test_listing() -> None:
    assert structure.listing("abc") == "a, b, c"
    assert structure.listing(str(i) for i in range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
