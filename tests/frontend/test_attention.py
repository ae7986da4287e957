"""Attention of ai.onnx is spelt as products and a softmax, and is one kernel."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from gacer_tune.errors import UserError
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, difference, model, node, op_types, random_inputs, run
from tests.support.compiled import beside_onnxruntime

BATCH, QUERIES, KEYS, PAST, DEPTH, WIDTH = 2, 5, 7, 3, 8, 6
OUTPUTS = ("y", "keys", "values", "scores")


def attention(**changes: Any) -> onnx.ModelProto:
    """changes: flat (3-d), many and groups (heads), past, mask (its shape), kind (float, bool, constant), outputs.

    What is left are attributes.
    """
    flat, many, groups = (changes.pop(name, default) for name, default in (("flat", 0), ("many", 4), ("groups", 2)))
    past, mask, kind = (
        changes.pop(name, default) for name, default in (("past", 0), ("mask", None), ("kind", "float"))
    )
    outputs = OUTPUTS[: changes.pop("outputs", 1)]

    def shape(heads: int, rows: int, wide: int) -> tuple[int, ...]:
        return (BATCH, rows, heads * wide) if flat else (BATCH, heads, rows, wide)

    given = {"q": shape(many, QUERIES, DEPTH), "k": shape(groups, KEYS, DEPTH), "v": shape(groups, KEYS, WIDTH)}
    names = [*given, "", "", ""]
    if flat:
        changes |= {"q_num_heads": many, "kv_num_heads": groups}
    if past:
        given |= {"pk": (BATCH, groups, PAST, DEPTH), "pv": (BATCH, groups, PAST, WIDTH)}
        names[4:] = ["pk", "pv"]
    nodes, constants = [], {}
    if mask is not None:
        names[3] = "m"
        if kind == "constant":
            constants["m"] = np.random.default_rng(1).random(mask) > 0.6
        elif kind == "bool":
            given["n"] = mask
            constants["limit"] = np.float32(0.2)
            nodes.append(node("Greater", ["n", "limit"], ["m"]))
        else:
            given["m"] = mask
    nodes.append(node("Attention", names, outputs, **changes))
    opset = 25 if "left_window_size" in changes else 23
    return model(nodes, given, outputs, constants, opset=opset, ir=10)


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    many, groups = draw(st.sampled_from(((4, 4), (4, 2), (3, 1), (1, 1))))
    past = draw(st.booleans())
    axes = (BATCH, many, QUERIES, KEYS + PAST * past)
    mask = tuple(draw(st.sampled_from((1, extent))) for extent in axes[:2]) + axes[2:]
    changes: dict[str, Any] = {
        "flat": draw(st.booleans()),
        "outputs": draw(st.sampled_from((1, 3, 4))),  # both or none of keys and values
        "is_causal": draw(st.integers(0, 1)),
        "qk_matmul_output_mode": draw(st.integers(0, 3)),
    }
    if draw(st.booleans()):
        changes |= {
            "mask": mask[draw(st.integers(0, 2)) :],
            "kind": draw(st.sampled_from(("float", "bool", "constant"))),
        }
    if draw(st.booleans()):
        changes |= {"left_window_size": draw(st.integers(-1, 3)), "right_window_size": draw(st.integers(-1, 3))}
    if draw(st.booleans()):
        changes |= {"scale": 0.7, "softcap": 1.5}
        changes["qk_matmul_output_mode"] = max(1, changes["qk_matmul_output_mode"])  # 0 is capped there, but not here
    return attention(many=many, groups=groups, past=past, **changes)


@settings(max_examples=60, deadline=None)
@given(models())
def test_any_attention_computes_what_its_definition_does(built: onnx.ModelProto) -> None:
    """That of the onnx package: ONNX Runtime knows no windows, and not all masks."""
    simple, feeds = simplify(built), random_inputs(built)
    assert "Attention" not in op_types(simple)
    for expected, actual in zip(ReferenceEvaluator(built).run(None, feeds), run(simple, feeds), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=CLOSE, atol=CLOSE)


def test_a_row_that_sees_nothing_is_zero() -> None:
    """Whether that is known beforehand or not; a mask that hides nothing costs nothing."""
    hidden = np.full((QUERIES, KEYS), True)
    hidden[1] = False
    computed = attention(mask=(QUERIES, KEYS), kind="bool")
    feeds = random_inputs(computed) | {"n": hidden.astype(np.float32)}
    assert difference(computed, simplify(computed), feeds) <= CLOSE
    constant = attention(mask=(QUERIES, KEYS), kind="constant")
    shown = op_types(simplify(constant))
    for visible, guarded in ((hidden, True), (hidden | True, False)):
        constant.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(visible, "m"))
        simple = simplify(constant)
        assert ("Where" in op_types(simple)) is guarded
        assert difference(constant, simple, random_inputs(constant)) <= CLOSE
    assert shown.count("Softmax") == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"softmax_precision": 11}, "softmax_precision 11 is not supported, only 1, 10, 16"),
        ({"qk_matmul_output_mode": 4}, "qk_matmul_output_mode 4, only 0 to 3 are allowed"),
        ({"mask": (QUERIES, KEYS - 1)}, "a mask of shape 5x6 does not spread over 2x4x5x7"),
        ({"flat": 1, "many": 4, "groups": 3}, "4 heads of 8 do not share 3 heads of 8"),
    ],
)
def test_what_is_refused_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        simplify(attention(**changes))
    assert str(caught.value) == f"node 'n_y' (Attention): {words}"


def test_lengths_are_refused(tmp_path: Path) -> None:
    made = node("Attention", ["q", "k", "v", "", "", "", "n"], ["y"])
    shape = BATCH, 2, KEYS, DEPTH
    types = {"n": onnx.TensorProto.INT64}
    built = model([made], {"q": shape, "k": shape, "v": shape, "n": (BATCH,)}, ["y"], types=types, opset=24, ir=10)
    onnx.save(built, str(tmp_path / "m.onnx"))
    with pytest.raises(UserError, match=r"m\.onnx: node 'n_y' \(Attention\): nonpad_kv_seqlen is not supported"):
        load_model(tmp_path / "m.onnx")


def test_whole_path() -> None:
    """The softmax is part of one kernel, whatever the heads, and with a mask that is computed."""
    protos = [
        attention(flat=1, many=4, groups=4, is_causal=1),
        attention(many=4, groups=2, mask=(BATCH, 1, QUERIES, KEYS), kind="bool"),
        attention(flat=1, many=3, groups=1, past=1, outputs=3, softcap=2.0, mask=(BATCH, 3, QUERIES, KEYS + PAST)),
    ]
    for found, expected, tenant in beside_onnxruntime(protos, most=2):
        kinds = [op.kind for op in tenant.ops]
        assert kinds.count("attention") == 1
        assert not {"softmax", "bmm"} & set(kinds)
        assert np.abs(found - expected).max() <= CLOSE
