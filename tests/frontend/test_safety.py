"""Reading a file: what is no model, what is a damaged one, and what is too large."""

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.frontend import limits
from gacer_tune.frontend.safety import parse_model, read_model
from tests.support.build import model, node


def small_model() -> onnx.ModelProto:
    return model(
        [node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])],
        {"x": [1, 3, 4, 4]},
        ["y"],
        {"w": onnx.numpy_helper.to_array(onnx.helper.make_tensor("w", TensorProto.FLOAT, [2, 3, 1, 1], [0.5] * 6))},
    )


def refusal(path: Path) -> str:
    """The message of the refusal, with the path taken off."""
    with pytest.raises(UserError) as caught:
        read_model(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def write(folder: Path, content: bytes) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(content)
    return path


def test_a_good_model_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, small_model().SerializeToString())
    assert [item.op_type for item in read_model(path).graph.node] == ["Conv", "Relu"]


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "m.onnx") == "no such file"


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "a folder, expected an ONNX file"


def test_device() -> None:
    assert refusal(Path("/dev/zero")) == "not a regular file"


def test_name_with_a_nul() -> None:
    assert refusal(Path("a\0b")) == "cannot be read: embedded null byte"


def test_empty_file(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, b"")) == "empty file, expected an ONNX model"


@pytest.mark.parametrize(
    "content",
    [
        b"this is a text file\n",
        b'{"format": "json"}',
        b"PK\x03\x04" + bytes(40),
        b"\x89HDF\r\n\x1a\n" + bytes(40),
        b"\x1f\x8b\x08" + bytes(40),
        b"GGUF" + bytes(40),
        b"TFL3",
    ],
)
def test_other_formats_are_not_onnx(tmp_path: Path, content: bytes) -> None:
    assert refusal(write(tmp_path, content)) == "not an ONNX model"


def test_a_protobuf_without_graph(tmp_path: Path) -> None:
    content = onnx.ModelProto(ir_version=8, producer_name="somebody").SerializeToString()
    assert refusal(write(tmp_path, content)) == "not an ONNX model or a truncated one: it has no graph"


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    content = small_model().SerializeToString() + b"\xda\x01\x03abc" + b"\xe0\x01\x05" + b"\xe9\x01" + bytes(8)
    assert len(read_model(write(tmp_path, content)).graph.node) == 2


def test_a_model_cut_in_its_graph_is_truncated(tmp_path: Path) -> None:
    content = small_model().SerializeToString()
    text = "truncated ONNX model: the file ends in the middle of a field"
    assert refusal(write(tmp_path, content[: len(content) // 2])) == text


def test_a_model_cut_before_its_operator_set_is_truncated(tmp_path: Path) -> None:
    whole = small_model()
    content = onnx.ModelProto(ir_version=8, graph=whole.graph).SerializeToString()
    assert refusal(write(tmp_path, content)) == "truncated ONNX model: it names no operator set"


def test_a_model_with_garbage_inside_is_damaged(tmp_path: Path) -> None:
    content = onnx.ModelProto(ir_version=8).SerializeToString() + b"\x3a\x04\xff\xff\xff\xff"
    assert refusal(write(tmp_path, content)) == "damaged ONNX model: it cannot be parsed"


def test_every_proper_prefix_is_refused_as_truncated() -> None:
    content = small_model().SerializeToString()
    for end in range(1, len(content)):
        with pytest.raises(UserError, match="truncated"):
            parse_model(content[:end], Path("m.onnx"))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_a_model_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(small_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path_factory.getbasetemp(), bytes(content))
    try:
        read_model(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")


@given(st.binary(max_size=64))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(UserError):
        parse_model(content or b"x", Path("m.onnx"))


def test_files_beyond_protobuf_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse
    assert refusal(path) == f"{2**31} bytes, at most {2**31 - 1}: save it with external data"


def test_what_the_checker_finds_is_one_line(tmp_path: Path) -> None:
    built = model([node("Relu", ["x", "x"], ["y"])], {"x": [1]}, ["y"])
    text = refusal(write(tmp_path, built.SerializeToString()))
    assert text.startswith("not a valid ONNX model: ")
    assert "Relu" in text
    assert "\n" not in text


def test_unknown_standard_operator(tmp_path: Path) -> None:
    built = model([node("Frobnicate", ["x"], ["y"])], {"x": [1]}, ["y"])
    assert "No Op registered for Frobnicate" in refusal(write(tmp_path, built.SerializeToString()))


def test_names_that_are_not_text(tmp_path: Path) -> None:
    content = small_model().SerializeToString().replace(b"Relu", b"\xff\xfe\xfd\xfc")
    assert refusal(write(tmp_path, content)) == "not a valid ONNX model: onnx.NodeProto.op_type is not UTF-8 text"


def test_attributes_that_are_not_text(tmp_path: Path) -> None:
    built = small_model()
    built.graph.node[0].attribute.append(onnx.helper.make_attribute("auto_pad", b"\xff"))
    text = "not a valid ONNX model: onnx.AttributeProto.s is not UTF-8 text"
    assert refusal(write(tmp_path, built.SerializeToString())) == text


def test_too_many_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_NODES", 1)
    assert refusal(write(tmp_path, small_model().SerializeToString())) == "the model has 2 nodes, at most 1"


def test_too_many_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_TENSORS", 0)
    assert refusal(write(tmp_path, small_model().SerializeToString())) == "the model has 1 constant tensors, at most 0"


@pytest.mark.parametrize(
    ("dims", "text"),
    [
        ([2**31 + 1], "tensor 'w': shape 2147483649 has dimension 2147483649, at most 2147483648"),
        ([2**20, 2**20], "tensor 'w': shape 1048576x1048576 has 1099511627776 elements, at most 8589934592"),
        ([-1, 3], "tensor 'w': shape -1x3 has a negative dimension"),
    ],
)
def test_impossible_shapes(tmp_path: Path, dims: list[int], text: str) -> None:
    built = small_model()
    del built.graph.initializer[0].dims[:]
    built.graph.initializer[0].dims.extend(dims)
    assert refusal(write(tmp_path, built.SerializeToString())) == text


def test_data_of_another_size_than_the_shape(tmp_path: Path) -> None:
    built = small_model()
    built.graph.initializer[0].raw_data = b"1234"
    text = "tensor 'w': 4 bytes of data, its shape and type need 24"
    assert refusal(write(tmp_path, built.SerializeToString())) == text


def test_values_of_another_number_than_the_shape(tmp_path: Path) -> None:
    built = small_model()
    built.graph.initializer[0].CopyFrom(TensorProto(name="w", data_type=1, dims=[2, 3, 1, 1], float_data=[1.0, 2.0]))
    text = "tensor 'w': 2 values of data, its shape and type need 6"
    assert refusal(write(tmp_path, built.SerializeToString())) == text


def test_unknown_data_type(tmp_path: Path) -> None:
    built = small_model()
    built.graph.initializer[0].data_type = 99
    assert refusal(write(tmp_path, built.SerializeToString())) == "tensor 'w': unknown data type 99"


def test_graphs_nested_too_deep(tmp_path: Path) -> None:
    leaf = inner = onnx.helper.make_graph([], "inner", [], [])
    for depth in range(17):
        branch = node("If", ["c"], [f"y{depth}"], then_branch=inner, else_branch=leaf)
        inner = onnx.helper.make_graph([branch], "inner", [], [])
    built = model([node("Relu", ["x"], ["y"])], {"x": [1]}, ["y"])
    built.graph.node.extend(inner.node)
    assert refusal(write(tmp_path, built.SerializeToString())) == "node 'n_y1': graphs are nested more than 16 deep"


def test_constants_that_are_declared_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    built = small_model()
    built.graph.input.append(onnx.helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3, 1, 1]))
    path = write(tmp_path, built.SerializeToString())
    assert [item.name for item in read_model(path).graph.input] == ["x"]


def test_outputs_without_shape_pass(tmp_path: Path) -> None:
    built = small_model()
    built.graph.output[0].type.tensor_type.ClearField("shape")
    assert read_model(write(tmp_path, built.SerializeToString())).graph.output[0].name == "y"


def test_constant_nodes_become_initializers(tmp_path: Path) -> None:
    built = model(
        [
            node("Constant", [], ["a"], value_float=2.0),
            node("Constant", [], ["b"], value_ints=[1, 2]),
            node("Mul", ["x", "a"], ["m"]),
            node("Reshape", ["m", "b"], ["y"]),
        ],
        {"x": [2]},
        ["y"],
    )
    read = read_model(write(tmp_path, built.SerializeToString()))
    assert [item.op_type for item in read.graph.node] == ["Mul", "Reshape"]
    values = {item.name: onnx.numpy_helper.to_array(item) for item in read.graph.initializer}
    assert values["a"].shape == ()
    assert values["a"].dtype == "float32"
    assert values["b"].tolist() == [1, 2]
