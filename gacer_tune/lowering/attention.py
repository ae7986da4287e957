"""Lowers attention to one kernel where keys and values of a head have room beside the scores of a few rows."""

from __future__ import annotations

from gacer_tune.kernels import narrow_attention
from gacer_tune.kernels.attention import Attention, fits
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow_attention import NarrowAttention
from gacer_tune.kernels.tensor import dense
from gacer_tune.lowering.context import Lowering, program
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.view import View


def lower(low: Lowering, group: Group, order: tuple[int, ...]) -> bool:
    """Emit the attention, its output in the given order of axes; return False, with nothing emitted, if it has no room.

    A GPU computes the parts one after the other.
    """
    scores, _, last = group.parts
    nodes, name = low.graph.nodes, low.graph.nodes[last.last].outputs[0]
    batch = low.graph.shapes[name][:-2]

    def stacked(given: str) -> View:
        view = low.view(given)
        return view.broadcast((*batch, *view.shape[-2:]))

    query, keys = (stacked(given) for given in nodes[scores.first].inputs)
    values, epilogue = stacked(nodes[last.first].inputs[1]), low.epilogue(scores)
    if not isinstance(low.machine, Machine):
        return False
    tensors = query.tensor, keys.tensor, values.tensor, dense((*batch, query.shape[-2], values.shape[-1]))
    narrow = low.machine.tiles != "" and narrow_attention.fits(NarrowAttention(*tensors))
    if not narrow and not fits(keys.shape, values.shape, low.machine):
        return False
    out = low.output(name, order)
    finish = program(epilogue, epilogue.operands)
    spec = (NarrowAttention if narrow else Attention)(*tensors[:3], out.tensor, finish)
    reads = [query, keys, values, *epilogue.operands]
    low.emit(nodes[scores.first].name, "attention", [low.kernel(spec, reads, out)])
    return True
