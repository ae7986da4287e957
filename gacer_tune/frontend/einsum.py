"""Rules that spell Einsum, and MatMul with a vector, as products of matrices (see `contraction`).

    btd,dhe->bthe        Reshape(MatMul(x, W as [d, h * e]))
    bthd,bshd->bhts      MatMul(Transpose(q), Transpose(k))
    ij,jk,kl->il         MatMul(MatMul(a, b), c), in the cheaper order
Only of float32; what is left is lowered by TVM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_letters

import onnx
from onnx import helper

from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.contraction import Contraction, Term, contracted
from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.nodes import attribute

_DOTS = "..."


def einsum_to_products(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Einsum of any number of operands, with ellipses, diagonals and an implicit output."""
    if node.op_type != "Einsum" or node.domain or not _are_float(uses, node):
        return None
    shapes = [uses.types[name].shape for name in node.input]
    found = spelt_out(attribute(node, "equation", ""), [len(shape) for shape in shapes])
    return None if found is None else _replaced(uses, node, *found)


def vector_product(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """MatMul of a vector and anything, or of anything and a vector."""
    if node.op_type != "MatMul" or node.domain or not _are_float(uses, node):
        return None
    left, right = (len(uses.types[name].shape) for name in node.input)
    if 1 not in (left, right):
        return None
    batch = ascii_letters[: max(left, right, 2) - 2]
    sides = "x" if left == 1 else f"{batch}rx", "x" if right == 1 else f"{batch}xc"
    output = f"{'' if {left, right} == {1} else batch}{'r' if left > 1 else ''}{'c' if right > 1 else ''}"
    return _replaced(uses, node, sides, output)


def spelt_out(equation: str, ranks: Sequence[int]) -> tuple[tuple[str, ...], str] | None:
    """Letters for the axes of each operand and of the output; None where the equation does not fit the ranks.

    "...ij,...j", ranks 4 and 3 -> ("abij", "bj"), "abi"
    """
    given, arrow, output = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    widths = [rank - len(term.replace(_DOTS, "")) for term, rank in zip(terms, ranks, strict=False)]
    dots = [width for term, width in zip(terms, widths, strict=False) if _DOTS in term]
    free = [letter for letter in ascii_letters if letter not in equation]
    most = max(dots, default=0)
    if len(terms) != len(ranks) or min(widths) < 0 or most > len(free):
        return None
    if any(width for term, width in zip(terms, widths, strict=True) if _DOTS not in term):
        return None
    if not arrow:
        letters = given.replace(_DOTS, "").replace(",", "")
        output = _DOTS * bool(dots) + "".join(sorted(letter for letter in letters if letters.count(letter) == 1))
    shared = "".join(free[:most])
    axes = tuple(term.replace(_DOTS, shared[most - width :]) for term, width in zip(terms, widths, strict=True))
    made = output.replace(_DOTS, shared)
    known = "".join(axes)
    fits = all(axis.isalpha() for axis in known + made) and set(made) <= set(known) and len(set(made)) == len(made)
    return (axes, made) if fits else None


def _are_float(uses: Uses, node: onnx.NodeProto) -> bool:
    known = [uses.types.get(name) for name in node.input]
    return all(one is not None and one.element == onnx.TensorProto.FLOAT for one in known)


def _replaced(uses: Uses, node: onnx.NodeProto, axes: Sequence[str], output: str) -> Replacement | None:
    """The node's last product and its output keep their names."""
    work = Contraction(Emitter(uses, node.output[0]))
    terms = [
        Term(letters, uses.types[name].shape, name, uses.array(name))
        for letters, name in zip(axes, node.input, strict=True)
    ]
    extents = _extents(terms)
    if extents is None:
        return None
    made = contracted(work, [_distinct(work, term, extents) for term in terms], output)
    if made.array is not None or uses.shape(node.output[0]) not in (None, made.shape):
        return None  # of constants only, or a length of 1 where inference believes the first operand
    nodes = work.emit.nodes
    if not nodes or made.name != nodes[-1].output[0]:
        nodes.append(helper.make_node("Identity", [made.name], [""]))
    nodes[-1].output[0] = node.output[0]
    work.types.pop(made.name, None)
    next((one for one in reversed(nodes) if one.op_type == "MatMul"), nodes[-1]).name = node.name
    return Replacement(nodes, work.emit.constants, work.types)


def _extents(terms: Sequence[Term]) -> dict[str, int] | None:
    """Of each axis, where all operands agree or have 1."""
    found: dict[str, int] = {}
    for axis, extent in ((axis, extent) for term in terms for axis, extent in zip(term.axes, term.shape, strict=True)):
        if found.get(axis, 1) == 1:
            found[axis] = extent
        elif extent not in (1, found[axis]):
            return None
    return found


def _distinct(work: Contraction, term: Term, extents: dict[str, int]) -> Term:
    """Each axis once, and none of length 1 that another operand has longer: it only repeats the value."""
    kept = [at for at, axis in enumerate(term.axes) if term.shape[at] == extents[axis]]
    axes, shape = "".join(term.axes[at] for at in kept), tuple(term.shape[at] for at in kept)
    found = work.reshaped(term, axes, shape) if len(kept) < len(term.axes) else replace(term)
    for axis in sorted(set(axes)):
        for _ in range(axes.count(axis) - 1):
            found = work.diagonal(found, axis)
    return found
