"""What only moves data."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from gacer_tune.kernels.mapping import Map
from tests.support.build import CLOSE, model, node
from tests.support.compiled import beside_onnxruntime, build, lowered_alone


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < 28, reason="SpaceToDepth has modes since operator set 28")
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_undoes_space_to_depth(mode: str) -> None:
    nodes = [node("SpaceToDepth", ["x"], ["deep"], blocksize=2, mode=mode)]
    nodes.append(node("DepthToSpace", ["deep"], ["y"], blocksize=2, mode=mode))
    built = build([("m", model(nodes, {"x": [2, 3, 4, 6]}, ["deep", "y"], opset=28, ir=13))], 1, most=1)
    given = built.bench.session.port(0, built.compiled.workload.tenants[0].inputs[0])
    found = built.bench.outputs()
    assert np.array_equal(found["0/y"], given)
    right = found["0/deep"][:, 1 if mode == "CRD" else 3]  # of the first of 3 channels, the pixels to the right
    assert np.array_equal(right, given[:, 0, ::2, 1::2])


def windows() -> onnx.ModelProto:
    """An image between two convolutions is cut into windows, whose rows are normalised, and put together again."""
    nodes = [
        node("Conv", ["x", "w"], ["image"]),
        node("Reshape", ["image", "cut"], ["apart"]),
        node("Transpose", ["apart"], ["turned"], perm=[0, 3, 5, 2, 4, 1]),
        node("Reshape", ["turned", "rows"], ["tokens"]),
        node("Softmax", ["tokens"], ["soft"], axis=-1),
        node("Reshape", ["soft", "grid"], ["back"]),
        node("Transpose", ["back"], ["unturned"], perm=[0, 5, 3, 1, 4, 2]),
        node("Reshape", ["unturned", "whole"], ["together"]),
        node("Conv", ["together", "w"], ["y"]),
    ]
    shapes = {"cut": (1, 16, 4, 3, 2, 3), "rows": (9, 8, 16), "grid": (1, 3, 3, 4, 2, 16), "whole": (1, 16, 12, 6)}
    constants = {name: np.asarray(shape, np.int64) for name, shape in shapes.items()}
    weight = np.random.default_rng(0).standard_normal((16, 16, 1, 1), np.float32)
    return model(nodes, {"x": [1, 16, 12, 6]}, ["y"], constants | {"w": weight})


def test_channels_stay_side_by_side_where_an_image_is_cut_into_windows() -> None:
    """But for the inputs and outputs of the model, which lie as ONNX has them."""
    low = lowered_alone(windows())
    copies = [k.spec for op in low.ops for k in op.kernels if isinstance(k.spec, Map) and ".copy" in op.name]
    inside = [spec for spec in copies if spec.out.size == 16 * 72][1:]
    assert inside and all(spec.program.operands[0].strides[-1] == 1 == spec.out.strides[-1] for spec in inside)


def test_windows_hold_what_onnxruntime_finds_in_them() -> None:
    ((found, expected, _),) = beside_onnxruntime([windows()], most=1)
    assert np.abs(found - expected).max() <= CLOSE * np.abs(expected).max()
