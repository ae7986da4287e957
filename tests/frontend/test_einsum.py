"""Einsum and products with vectors become products of matrices, and compute what numpy says."""

import math
from string import ascii_lowercase
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from gacer_tune.frontend.einsum import spelt_out
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, Array, model, node, op_types, random_inputs, run
from tests.support.compiled import build

EXTENTS = (1, 2, 3, 5)


def einsum(
    equation: str, shapes: list[tuple[int, ...]], constants: frozenset[int] = frozenset(), **options: Any
) -> onnx.ModelProto:
    """A model of one Einsum; operands whose numbers are in `constants` are weights."""
    rng = np.random.default_rng(3)
    names = [f"x{number}" for number in range(len(shapes))]
    weights = {names[n]: rng.standard_normal(shapes[n]).astype(np.float32) for n in constants}
    inputs = {name: shape for name, shape in zip(names, shapes, strict=True) if name not in weights}
    return model([node("Einsum", names, ["y"], equation=equation)], inputs, ["y"], weights, **options)


def expected(proto: onnx.ModelProto, feeds: dict[str, Array]) -> Array:
    """What numpy makes of the model's only node in double precision."""
    known = feeds | {item.name: onnx.numpy_helper.to_array(item) for item in proto.graph.initializer}
    operands = [known[name].astype(np.float64) for name in proto.graph.node[0].input]
    equation = onnx.helper.get_attribute_value(proto.graph.node[0].attribute[0]).decode()
    return np.asarray(np.einsum(equation, *operands, optimize=False))


def error(found: Array, wanted: Array) -> float:
    if found.shape != wanted.shape:
        return math.inf
    return float((np.abs(found - wanted) / (1 + np.abs(wanted))).max(initial=0.0))


@st.composite
def contractions(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]], frozenset[int]]:
    """Equations of one to three operands: batches, sums, diagonals, ellipses, lengths of 1 that repeat; constants."""
    letters = ascii_lowercase[: draw(st.integers(1, 5))]
    extents = dict(zip(letters, draw(st.lists(st.sampled_from(EXTENTS), min_size=5, max_size=5)), strict=False))
    dots = draw(st.lists(st.sampled_from(EXTENTS), max_size=2))
    terms, shapes = [], []
    for _ in range(draw(st.integers(1, 3))):
        axes = draw(st.lists(st.sampled_from(letters), max_size=4))
        dotted = draw(st.booleans())
        terms.append("..." * dotted + "".join(axes))
        lead = [draw(st.sampled_from((1, extent))) for extent in dots] if dotted else []
        shapes.append((*lead, *(extents[axis] for axis in axes)))
    used = sorted(set("".join(terms)) - {"."})
    kept = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
    front = "..." if any("." in term for term in terms) else ""
    equation = ",".join(terms) + (f"->{front}{''.join(kept)}" if draw(st.booleans()) else "")
    constants = draw(st.frozensets(st.integers(0, len(terms) - 1), max_size=len(terms) - 1))
    return equation, shapes, constants


@settings(max_examples=150, deadline=None)
@given(contractions(), st.sampled_from((12, 13, 17)))
def test_any_equation_computes_what_numpy_does(given_: Any, opset: int) -> None:
    proto = einsum(*given_, opset=opset)
    feeds = random_inputs(proto)
    simple = simplify(proto)
    assert "Einsum" not in op_types(simple)
    assert error(run(simple, feeds)[0], expected(proto, feeds)) <= CLOSE


@pytest.mark.parametrize(
    ("equation", "shapes", "constants", "ops"),
    [
        ("bthd,bshd->bhts", [(1, 5, 2, 8), (1, 7, 2, 8)], (), ["Transpose", "Transpose", "MatMul"]),
        ("bhts,bshd->bthd", [(1, 2, 5, 7), (1, 7, 2, 8)], (), ["Transpose", "MatMul", "Transpose"]),
        ("btd,dhe->bthe", [(1, 5, 6), (6, 2, 4)], (1,), ["MatMul", "Reshape"]),
        ("hed,bthe->btd", [(2, 4, 6), (1, 5, 2, 4)], (0,), ["Reshape", "MatMul"]),
        ("bqc,bchw->bqhw", [(1, 3, 4), (1, 4, 5, 6)], (), ["Reshape", "MatMul", "Reshape"]),
        ("bhwc,hkc->bhwk", [(3, 4, 5, 6), (4, 7, 6)], (), ["Transpose", "MatMul"]),
        ("i,ji->j", [(4,), (5, 4)], (), ["Reshape", "MatMul", "Reshape"]),
        ("ij,jk,kl->il", [(9, 8), (8, 7), (7, 2)], (), ["MatMul", "MatMul"]),
        ("i,j->ij", [(3,), (4,)], (), ["Reshape", "Mul"]),
        ("bij,bij->b", [(2, 3, 4), (2, 3, 4)], (), ["Mul", "ReduceSum"]),
        ("...ij->...ji", [(2, 3, 4)], (), ["Transpose"]),
        ("ij->ij", [(3, 4)], (), ["Identity"]),
    ],
)
def test_what_becomes_of_it(equation: str, shapes: list[Any], constants: tuple[int, ...], ops: list[str]) -> None:
    simple = simplify(einsum(equation, shapes, frozenset(constants)))
    assert op_types(simple) == ops
    if "MatMul" in ops:
        assert [item.name for item in simple.graph.node if item.op_type == "MatMul"][-1] == "n_y"


def test_three_operands_take_the_cheaper_order() -> None:
    """(8 x 8)(8 x 8)(8 x 1): the product with the thin one comes first."""
    simple = simplify(einsum("ij,jk,kl->il", [(8, 8), (8, 8), (8, 1)]))
    shapes = {item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim] for item in simple.graph.value_info}
    assert [8, 1] in shapes.values()
    assert [8, 8] not in shapes.values()


@pytest.mark.parametrize(
    ("left", "right"),
    [((4,), (4,)), ((4,), (4, 3)), ((3, 4), (4,)), ((2, 5, 3, 4), (4,)), ((4,), (2, 4, 3)), ((1,), (1, 1))],
)
@pytest.mark.parametrize("weight", ["x", "w", ""])
def test_vectors_are_matrices_of_one_row_or_column(left: Any, right: Any, weight: str) -> None:
    rng = np.random.default_rng(0)
    shapes = {"x": left, "w": right}
    constants = {name: rng.standard_normal(shapes[name]).astype(np.float32) for name in shapes if name == weight}
    inputs = {name: shape for name, shape in shapes.items() if name not in constants}
    proto = model([node("MatMul", ["x", "w"], ["y"])], inputs, ["y"], constants)
    simple, feeds = simplify(proto), random_inputs(proto)
    known = feeds | constants
    assert error(run(simple, feeds)[0], np.matmul(known["x"], known["w"], dtype=np.float64)) <= CLOSE
    ranks = {len(item.type.tensor_type.shape.dim) for item in simple.graph.value_info}
    assert "MatMul" not in op_types(simple) or 1 not in ranks


@pytest.mark.parametrize(
    ("equation", "ranks", "found"),
    [
        ("...ij,...j", (4, 3), (("abij", "abj"), "abi")),
        (" i j , j k ", (2, 2), (("ij", "jk"), "ik")),
        ("ba", (2,), (("ba",), "ab")),
        ("ij,jk->ik", (2, 3), None),
        ("ij->ii", (2,), None),
        ("ij->k", (2,), None),
        ("ij", (2, 2), None),
        ("...ij", (1,), None),
    ],
)
def test_equations_are_spelt_out(equation: str, ranks: tuple[int, ...], found: Any) -> None:
    assert spelt_out(equation, ranks) == found


def test_integers_are_left_alone() -> None:
    types = dict.fromkeys(("x0", "x1", "y"), TensorProto.INT64)
    assert op_types(simplify(einsum("ij,jk->ik", [(2, 3), (3, 4)], types=types))) == ["Einsum"]


WHOLE = [
    ("bthd,bshd->bhts", [(2, 9, 3, 20), (2, 7, 3, 20)], ()),
    ("bhts,bshd->bthd", [(2, 3, 9, 7), (2, 7, 3, 20)], ()),
    ("btd,dhe->bthe", [(2, 9, 33), (33, 3, 20)], (1,)),
    ("bthe,hed->btd", [(2, 9, 3, 20), (3, 20, 33)], (1,)),
    ("bhwc,hkc->bhwk", [(3, 5, 6, 20), (5, 7, 20)], (1,)),
    ("nkctv,kvw->nctw", [(2, 3, 4, 5, 6), (3, 6, 7)], ()),
    ("ij,j->i", [(70, 65), (65,)], ()),
    ("ji,j->i", [(65, 70), (65,)], ()),
    ("bij,bij->b", [(3, 17, 5), (3, 17, 5)], ()),
    ("...ii->...i", [(3, 4, 4)], ()),
    ("ab,bc,cd,de->ae", [(9, 8), (8, 7), (7, 6), (6, 5)], (2,)),
]


def test_whole_path() -> None:
    """Lowered, compiled and run: one tenant for each equation, none of them by the default rule."""
    protos = [einsum(equation, shapes, frozenset(constants)) for equation, shapes, constants in WHOLE]
    built = build([(f"e{number}", proto) for number, proto in enumerate(protos)], 1, most=2)
    found = built.bench.outputs()
    for number, (proto, tenant) in enumerate(zip(protos, built.compiled.workload.tenants, strict=True)):
        feeds = {port.name: built.bench.session.port(number, port) for port in tenant.inputs}
        assert error(found[f"{number}/y"], expected(proto, feeds)) <= CLOSE, WHOLE[number]
        assert "default" not in {op.kind for op in tenant.ops}, WHOLE[number]
