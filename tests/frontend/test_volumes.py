"""Convolutions of volumes are convolutions of images."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, difference, model, node, op_types, random_inputs
from tests.support.compiled import beside_onnxruntime

INPUTS, OUTPUTS = 3, 4


def volume(
    op_type: str, shape: tuple[int, ...], window: tuple[int, ...], bias: bool = True, **attributes: Any
) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    sides = (INPUTS, OUTPUTS) if op_type == "ConvTranspose" else (OUTPUTS, INPUTS)
    constants = {"w": rng.standard_normal((*sides, *window)).astype(np.float32) / 4}
    if bias:
        constants["b"] = rng.standard_normal(OUTPUTS).astype(np.float32)
    made = node(op_type, ["x", *constants], ["y"], **attributes)
    return model([made], {"x": (2, INPUTS, *shape)}, ["y"], constants)


triples = st.tuples(*[st.integers(1, 3)] * 3)


@st.composite
def volumes(draw: st.DrawFn) -> onnx.ModelProto:
    op_type, window, strides = draw(st.sampled_from(("Conv", "ConvTranspose"))), draw(triples), draw(triples)
    shape = tuple(draw(st.integers(3, 6)) for _ in range(3))
    attributes: dict[str, Any] = {"strides": strides, "kernel_shape": window}
    attributes["pads"] = [draw(st.integers(0, size - 1)) for size in window * 2]
    if op_type == "Conv":
        attributes["dilations"] = [draw(st.integers(1, 2)), 1, 1]
        reach = [d * (k - 1) + 1 for k, d in zip(window, attributes["dilations"], strict=True)]
        ends = zip(shape, attributes["pads"], attributes["pads"][3:], reach, strict=False)
        assume(all(extent + before + behind >= size for extent, before, behind, size in ends))
    else:
        assume(strides[0] <= window[0])
        attributes["output_padding"] = [draw(st.integers(0, stride - 1)) for stride in strides]
    return volume(op_type, shape, window, draw(st.booleans()), **attributes)


@settings(max_examples=60, deadline=None)
@given(volumes())
def test_any_convolution_computes_what_onnxruntime_does(built: onnx.ModelProto) -> None:
    simple, feeds = simplify(built), random_inputs(built)
    ranks = {len(item.dims) for item in simple.graph.initializer if item.name.startswith("y/weight")}
    assert ranks == {4}
    assert difference(built, simple, feeds) <= CLOSE


@pytest.mark.parametrize(
    "built",
    [
        volume("Conv", (4, 4, 4), (2, 2, 2), auto_pad="SAME_UPPER"),
        volume("ConvTranspose", (4, 4, 4), (2, 2, 2), strides=[3, 2, 2]),
        volume("ConvTranspose", (4, 4, 4), (2, 2, 2), dilations=[2, 1, 1]),
    ],
)
def test_others_stay(built: onnx.ModelProto) -> None:
    assert op_types(simplify(built)) == [built.graph.node[0].op_type]


def test_whole_path() -> None:
    protos = [
        volume("Conv", (4, 5, 6), (3, 3, 3), pads=[1] * 6, strides=[2, 1, 1]),
        volume("ConvTranspose", (3, 4, 5), (2, 2, 2), strides=[2, 2, 2]),
        volume("ConvTranspose", (3, 4, 5), (3, 3, 3), strides=[2, 2, 2], pads=[1] * 6),
    ]
    for found, expected, tenant in beside_onnxruntime(protos, most=1):
        assert "default" not in [op.kind for op in tenant.ops]
        assert np.abs(found - expected).max() <= CLOSE
