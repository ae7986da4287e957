"""What only moves data."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.support.build import model, node
from tests.support.compiled import build


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
