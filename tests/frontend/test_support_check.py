"""The list of operators nothing can lower."""

import onnx
import pytest

from gacer_tune.errors import UserError
from gacer_tune.frontend.support import require_supported, unsupported
from tests.support.build import model, node


def built() -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["a"]), node("Silu", ["a"], ["b"], domain="gacer")]
    nodes += [node("Det", ["b"], [f"d{i}"], name=f"det_{i}") for i in range(12)]
    nodes.append(node("Loop", ["", "", "a"], ["y"], name=""))
    return model(nodes, {"x": [2, 2]}, ["y"])


def test_nothing_is_missing_when_all_is_supported() -> None:
    assert unsupported(built(), {"Relu", "gacer.Silu", "Det", "Loop"}) == []
    require_supported(built(), {"Relu", "gacer.Silu", "Det", "Loop"})


def test_unsupported_in_graph_order() -> None:
    assert unsupported(built(), {"Silu", "Det"}) == [("Relu", "n_a"), ("gacer.Silu", "n_b"), ("Loop", "y")]


def test_one_message_for_all() -> None:
    with pytest.raises(UserError) as caught:
        require_supported(built(), {"Relu"})
    assert str(caught.value) == (
        "unsupported operators: Det: det_0, det_1, det_2, det_3, det_4, det_5, det_6, det_7, det_8, det_9 and 2 more;"
        " Loop: y; gacer.Silu: n_b"
    )
