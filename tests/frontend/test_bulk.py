"""A model without its bulk names the same external files as the whole one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.frontend.bulk import without_bulk
from gacer_tune.frontend.external import external_locations
from gacer_tune.frontend.load import model_digest
from tests.support.build import model, node

LARGE = np.ones(2048, np.float32)


def external(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def bulky(locations: list[str] = []) -> onnx.ModelProto:  # noqa: B006 - only read
    found = model([node("Add", ["x", "w"], ["a"]), node("Mul", ["a", "v"], ["y"])], {"x": [2048]}, ["y"], {"w": LARGE})
    found.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([3]), "v"))
    found.graph.initializer.extend(external(f"e{number}", name) for number, name in enumerate(locations))
    return found


def parsed(content: bytes) -> onnx.ModelProto | None:
    return without_bulk(io.BytesIO(content), len(content))


def test_only_large_data_is_missing() -> None:
    whole = bulky(["a.bin"])
    found = parsed(whole.SerializeToString())
    whole.graph.initializer[0].ClearField("raw_data")
    assert found == whole


@given(st.lists(st.text(min_size=1, max_size=9), max_size=4), st.lists(st.text(min_size=1, max_size=9), max_size=3))
def test_locations_are_those_of_the_whole_model(top: list[str], inside: list[str]) -> None:
    """In the graph, in an attribute and in the graph of an attribute."""
    whole = bulky(top)
    branch = onnx.helper.make_graph([], "inner", [], [], [external(f"i{n}", name) for n, name in enumerate(inside)])
    whole.graph.node.append(node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    whole.graph.node.append(node("Constant", [], ["k"], value=external("k", "of an attribute")))
    found = parsed(whole.SerializeToString())
    assert found is not None and external_locations(found) == external_locations(whole)


@given(st.data())
def test_bytes_that_are_kept_mean_what_they_mean_in_the_whole(data: st.DataObject) -> None:
    """However a file is damaged: what passes here has the locations that all of it has."""
    content = bytearray(bulky(["a.bin", "b.bin"]).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = parsed(bytes(content))
    whole = onnx.ModelProto()
    try:
        whole.ParseFromString(bytes(content))
    except DecodeError:
        return
    if found is not None:
        assert external_locations(found) == external_locations(whole)


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_that_was_cut_is_not_judged(cut: int) -> None:
    assert parsed(bulky().SerializeToString()[:-cut]) is None


def test_groups_are_not_judged() -> None:
    assert parsed(bulky().SerializeToString() + b"\x0b\x0c") is None


def test_the_digest_of_an_odd_file_is_the_same_refusal_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(bulky().SerializeToString()[:-4000])
    with pytest.raises(UserError, match=r"m\.onnx: truncated ONNX model: the file ends in the middle of a field"):
        model_digest(path)


def test_a_field_that_is_longer_than_what_it_is_in_is_not_judged() -> None:
    graph_of_two, node_of_sixteen = b"\x3a\x02", b"\x0a\x10"
    assert parsed(graph_of_two + node_of_sixteen + b"\x12\x0e" + b"a" * 14) is None
