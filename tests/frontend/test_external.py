"""External data: only regular files of their own below the model's folder."""

import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.frontend import external
from gacer_tune.frontend.load import model_digest
from gacer_tune.frontend.safety import read_model
from tests.support.build import model, node

DATA = np.arange(6, dtype=np.float32)


def write(folder: Path, **entries: str) -> Path:
    """A model whose constant w, 6 floats, is external with these entries; its bytes are in folder/w.bin from byte 8."""
    built = model([node("Add", ["x", "w"], ["y"])], {"x": [6]}, ["y"], {"w": DATA})
    tensor = built.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "8", "length": "24", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "w.bin").write_bytes(bytes(8) + DATA.tobytes())
    path = folder / "m.onnx"
    path.write_bytes(built.SerializeToString())
    return path


def refusal(path: Path, location: str = "w.bin") -> str:
    """The message after the names of the file, the tensor and the location."""
    with pytest.raises(UserError) as caught:
        read_model(path)
    start = f"{path}: tensor 'w': external data {location!r}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


@pytest.mark.parametrize("entries", [{}, {"length": ""}, {"location": "./w.bin"}])
def test_data_is_loaded(tmp_path: Path, entries: dict[str, str]) -> None:
    tensor = read_model(write(tmp_path, **entries)).graph.initializer[0]
    assert tensor.data_location == TensorProto.DEFAULT
    assert not tensor.external_data
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), DATA)


def test_data_in_a_folder_below_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, location="data/w.bin")
    (tmp_path / "data").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "data" / "w.bin")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(read_model(path).graph.initializer[0]), DATA)


@pytest.mark.parametrize("location", ["/etc/passwd", "C:\\w.bin", "\\\\server\\w.bin", "C:w.bin", "\\w.bin"])
def test_absolute_paths(tmp_path: Path, location: str) -> None:
    text = "an absolute path, only files in the model's folder are allowed"
    assert refusal(write(tmp_path, location=location), location) == text


@pytest.mark.parametrize("location", ["../w.bin", "data/../../w.bin", "..\\w.bin", "a/.."])
def test_parent_folders(tmp_path: Path, location: str) -> None:
    text = "'..' in the path, only files in the model's folder are allowed"
    assert refusal(write(tmp_path, location=location), location) == text


@pytest.mark.parametrize("location", ["", "."])
def test_no_file_name(tmp_path: Path, location: str) -> None:
    assert refusal(write(tmp_path, location=location), location) == "not a file name"


def test_symbolic_link(tmp_path: Path) -> None:
    path = write(tmp_path, location="link")
    (tmp_path / "link").symlink_to(tmp_path / "w.bin")
    assert refusal(path, "link") == "'link' is a symbolic link, put the file itself there"


def test_a_link_put_there_after_the_check_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, location="link")
    (tmp_path / "link").symlink_to(tmp_path / "w.bin")
    monkeypatch.setattr(external, "_refuse_link", lambda *_: None)
    assert refusal(path, "link") == "cannot be read: Too many levels of symbolic links"


def test_symbolic_link_to_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path, location="data/w.bin")
    (tmp_path / "real").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "real" / "w.bin")
    (tmp_path / "data").symlink_to("real")
    assert refusal(path, "data/w.bin") == "'data' is a symbolic link, put the file itself there"


def test_a_link_above_the_model_is_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    tensor = read_model(tmp_path / "link" / "m.onnx").graph.initializer[0]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), DATA)


def test_hard_link(tmp_path: Path) -> None:
    path = write(tmp_path)
    os.link(tmp_path / "w.bin", tmp_path / "other")
    assert refusal(path) == "the file has 2 hard links, only 1 is allowed: copy it"


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, location="no.bin"), "no.bin") == "no such file"


def test_file_used_as_folder(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, location="w.bin/x"), "w.bin/x") == "a folder of the path is not a folder"


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert refusal(write(tmp_path, location="data"), "data") == "not a regular file"


def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(write(tmp_path, location="pipe"), "pipe") == "not a regular file"


def test_unreadable_name(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, location="a" * 300), "a" * 300) == "cannot be read: File name too long"


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"offset": "9"}, "bytes 9 to 33 are outside the file of 32 bytes"),
        ({"offset": "0", "length": "33"}, "bytes 0 to 33 are outside the file of 32 bytes"),
        ({"offset": "99", "length": ""}, "bytes 99 to 99 are outside the file of 32 bytes"),
        ({"offset": "-8"}, "offset '-8' is not a number of bytes"),
        ({"length": "1e3"}, "length '1e3' is not a number of bytes"),
        ({"length": "9" * 30}, f"length '{'9' * 30}' is not a number of bytes"),
        ({"length": "20"}, "20 bytes, the tensor's shape and type need 24"),
        ({"offset": "0", "length": ""}, "32 bytes, the tensor's shape and type need 24"),
    ],
)
def test_extent(tmp_path: Path, entries: dict[str, str], text: str) -> None:
    assert refusal(write(tmp_path, **entries)) == text


def test_total_size_counts_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.setattr(external, "MAX_TOTAL_NBYTES", path.stat().st_size + 23)
    assert refusal(path) == f"the model is larger than {path.stat().st_size + 23} bytes in all"


def test_data_in_a_subgraph_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path)
    built = onnx.load(path, load_external_data=False)
    inner = onnx.helper.make_graph(
        [node("Identity", ["v"], ["z"])], "inner", [], [onnx.helper.make_tensor_value_info("z", 1, [6])]
    )
    evil = inner.initializer.add()
    evil.CopyFrom(built.graph.initializer[0])
    evil.name = "v"
    evil.external_data[0].value = "/etc/passwd"
    built.graph.input.append(onnx.helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    built.graph.node.append(node("If", ["c"], ["q"], then_branch=inner, else_branch=inner))
    path.write_bytes(built.SerializeToString())
    with pytest.raises(UserError, match="tensor 'v': external data '/etc/passwd': an absolute path"):
        read_model(path)


def test_digest_without_external_data_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model([node("Relu", ["x"], ["y"])], {"x": [1]}, ["y"]).SerializeToString())
    assert model_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_digest_follows_model_and_external_data_only(tmp_path: Path) -> None:
    path = write(tmp_path)
    first = model_digest(path)
    assert len(first) == 64
    (tmp_path / "other.bin").write_bytes(b"1")
    assert model_digest(path) == first
    (tmp_path / "w.bin").write_bytes(bytes(8) + (DATA + 1).tobytes())
    second = model_digest(path)
    assert second != first
    path.write_bytes(path.read_bytes().replace(b"n_y", b"n_z"))
    assert model_digest(path) not in (first, second)


def test_digest_refuses_the_same_files(tmp_path: Path) -> None:
    path = write(tmp_path, location="../w.bin")
    with pytest.raises(UserError, match=r"m\.onnx: tensor 'w': external data '\.\./w\.bin': '\.\.' in the path"):
        model_digest(path)
