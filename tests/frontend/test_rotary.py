"""RotaryEmbedding of ai.onnx is spelt as products and sums."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, INT64, difference, model, node, op_types, random_inputs
from tests.support.compiled import beside_onnxruntime

BATCH, ROWS, HEADS, DEPTH, PLACES = 2, 5, 3, 8, 9


def rotary(flat: bool, turned: int = DEPTH, positions: str = "", **attributes: Any) -> onnx.ModelProto:
    """positions: "" (the angles themselves are given), "constant" or "computed"."""
    rng = np.random.default_rng(0)
    given = {"x": (BATCH, ROWS, HEADS * DEPTH) if flat else (BATCH, HEADS, ROWS, DEPTH)}
    tables = (PLACES,) if positions else (BATCH, ROWS)
    constants = {name: rng.standard_normal((*tables, turned // 2)).astype(np.float32) for name in ("cos", "sin")}
    names, types = ["x", "cos", "sin"], {}
    if positions:
        names.append("at")
    if positions == "constant":
        constants["at"] = rng.integers(0, PLACES, (BATCH, ROWS))
    if positions == "computed":
        given["at"], types["at"] = (BATCH, ROWS), INT64
    if flat:
        attributes["num_heads"] = HEADS
    if turned != DEPTH:
        attributes["rotary_embedding_dim"] = turned
    made = node("RotaryEmbedding", names, ["y"], **attributes)
    return model([made], given, ["y"], constants, opset=23, ir=10, types=types)


@settings(max_examples=30, deadline=None)
@given(st.booleans(), st.sampled_from((4, 6, DEPTH)), st.sampled_from(("", "constant", "computed")), st.integers(0, 1))
def test_any_embedding_computes_what_onnxruntime_does(flat: bool, turned: int, positions: str, pairs: int) -> None:
    built = rotary(flat, turned, positions, interleaved=pairs)
    simple = simplify(built)
    assert "RotaryEmbedding" not in op_types(simple)
    assert difference(built, simple, random_inputs(built, high=PLACES)) <= CLOSE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_heads": 5}, "a width of 24 does not split into num_heads 5"),
        (
            {"rotary_embedding_dim": 4},
            "4 of 8 elements are to be turned by tables of width 4 and 4, half of them is needed",
        ),
    ],
)
def test_what_does_not_fit_says_why(changes: dict[str, int], words: str) -> None:
    built = rotary(True)
    attributes = {"num_heads": HEADS} | changes
    del built.graph.node[0].attribute[:]
    built.graph.node[0].attribute.extend(onnx.helper.make_attribute(*item) for item in attributes.items())
    with pytest.raises(UserError) as caught:
        simplify(built)
    assert str(caught.value) == f"node 'n_y' (RotaryEmbedding): {words}"


def test_whole_path() -> None:
    """No kernel is TVM's own."""
    protos = [rotary(True, 6, "constant", interleaved=1), rotary(False, DEPTH, "computed")]
    for found, expected, tenant in beside_onnxruntime(protos, most=1):
        assert "default" not in [op.kind for op in tenant.ops]
        assert np.abs(found - expected).max() <= CLOSE
