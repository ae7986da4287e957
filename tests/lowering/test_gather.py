"""Gather with constant indices."""

from __future__ import annotations

import numpy as np
import pytest

from gacer_tune.errors import UserError
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.lowering.lower import lower_model
from tests.support.build import model, node
from tests.support.compiled import beside_onnxruntime


@pytest.mark.parametrize(("indices", "outside"), [(19, 19), ([0, -3, 1], -3), ([[1], [2]], 2)])
def test_an_index_outside_is_refused(indices: object, outside: int) -> None:
    graph = model([node("Gather", ["x", "i"], ["y"], name="pick")], {"x": [2, 5]}, ["y"], {"i": np.array(indices)})
    with pytest.raises(UserError, match=f"pick: Gather of index {outside}, allowed are -2 to 1"):
        lower_model(graph, MACHINES["avx2"], {})


def test_an_index_inside_is_not() -> None:
    protos = [
        model([node("Gather", ["x", "i"], ["y"])], {"x": [2, 5]}, ["y"], {"i": np.array(indices)})
        for indices in (-2, 1, [0, -1, 1])
    ]
    for found, expected, _ in beside_onnxruntime(protos, most=1):
        assert np.array_equal(found, expected)
