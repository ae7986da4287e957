"""Lowers what only moves data: most of it becomes a view and costs nothing, the rest copies."""

from __future__ import annotations

from gacer_tune.errors import UserError
from gacer_tune.kernels import mapping
from gacer_tune.lowering.context import LoweredKernel, Lowering, Slot
from gacer_tune.lowering.convolution import channels_behind
from gacer_tune.lowering.elementwise import ELEMENTWISE
from gacer_tune.lowering.fusion import ANCHORS, Group
from gacer_tune.lowering.graph import Graph, Node
from gacer_tune.lowering.interleave import INTERLEAVE
from gacer_tune.lowering.view import View, memory_order

IN_PLACE = ANCHORS | ELEMENTWISE | {"MaxPool", "AveragePool", "Concat", "Resize", "LRN", "Gather"}


def concat_slots(graph: Graph) -> dict[str, Slot]:
    """For each value that can be made directly inside a concatenation that reads it, its place in the longest of them.

    Shorter ones of the same values then find them side by side already (DenseNet).
    """
    makers = graph.makers
    slots: dict[str, Slot] = {}
    concats = [node for node in graph.nodes if node.op in ("Concat", INTERLEAVE)]
    for node in sorted(concats, key=lambda node: -len(node.inputs)):
        axis, start = node.axis(len(graph.shapes[node.outputs[0]])), 0
        step = len(node.inputs) if node.op == INTERLEAVE else 1
        for name in node.inputs:
            made = name in makers and graph.nodes[makers[name]].op in IN_PLACE
            alone = name not in slots and name not in graph.outputs and node.inputs.count(name) == 1
            if made and alone:
                slots[name] = Slot(node.outputs[0], axis, start, step)
            start += graph.shapes[name][axis] if step == 1 else 1
    return slots


def _only(low: Lowering, group: Group) -> tuple[Node, View]:
    node = low.graph.nodes[group.first]
    return node, low.view(node.inputs[0])


def reshape(low: Lowering, group: Group) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: a view, or a copy first where strides cannot express it.

    Channels that lie side by side and stay axis 1, as where an image is cut into windows, lie so in the copy, too.
    """
    node, source = _only(low, group)
    shape = low.graph.shapes[node.outputs[0]]
    view = source.reshape(shape)
    if view is None:
        together = source.shape[:2] == shape[:2] and source.strides[1] == 1
        _copied(low, node, source, channels_behind(len(source.shape)) if together else None)
    else:
        low.views[node.outputs[0]] = view


def transpose(low: Lowering, group: Group) -> None:
    node, source = _only(low, group)
    order = node.attributes.get("perm") or list(reversed(range(len(source.shape))))
    low.views[node.outputs[0]] = source.permute(tuple(int(a) for a in order))


def cut(low: Lowering, group: Group) -> None:
    """Slice."""
    node, source = _only(low, group)
    graph, rank = low.graph, len(source.shape)
    starts, ends = graph.ints(node, "starts", 1), graph.ints(node, "ends", 2)
    assert starts is not None and ends is not None
    axes = graph.ints(node, "axes", 3) or list(range(len(starts)))
    steps = graph.ints(node, "steps", 4) or [1] * len(starts)
    view = source
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        picked = range(source.shape[axis % rank])[slice(start, end if end > -(2**31) else None, step)]
        view = view.slice(axis % rank, picked.start, len(picked), step)
    low.views[node.outputs[0]] = view


def split(low: Lowering, group: Group) -> None:
    node, source = _only(low, group)
    axis, start = node.axis(len(source.shape)), 0
    for name in node.outputs:
        length = low.graph.shapes[name][axis] if name else 0
        if name:
            low.views[name] = source.slice(axis, start, length)
        start += length


def expand(low: Lowering, group: Group) -> None:
    node, source = _only(low, group)
    low.views[node.outputs[0]] = source.broadcast(low.graph.shapes[node.outputs[0]])


def tile(low: Lowering, group: Group) -> None:
    """(a, b) repeated (m, n) times is the view (m, a, n, b) with stride 0 where it repeats."""
    node, source = _only(low, group)
    shape = low.graph.shapes[node.outputs[0]]
    inner = tuple(n for r, s in zip(shape, source.shape, strict=True) for n in (r // s, s))
    strides = tuple(n for stride in source.strides for n in (0, stride))
    _copied(low, node, source.as_strided(inner, strides))


def depth_to_space(low: Lowering, group: Group) -> None:
    node, source = _only(low, group)
    size = int(node.attributes["blocksize"])
    n, c, h, w = source.shape
    sn, sc, sh, sw = source.strides
    kept = c // size**2
    if node.attributes.get("mode", "DCR") == "DCR":
        first, second, channel = sc * kept * size, sc * kept, sc
    else:
        first, second, channel = sc * size, sc, sc * size**2
    shape, strides = (n, kept, h, size, w, size), (sn, channel, sh, first, sw, second)
    _copied(low, node, source.as_strided(shape, strides), (0, 2, 3, 4, 5, 1))


def space_to_depth(low: Lowering, group: Group) -> None:
    node, source = _only(low, group)
    size = int(node.attributes["blocksize"])
    n, c, h, w = source.shape
    sn, sc, sh, sw = source.strides
    inside, channel = ((size, sh), (size, sw)), (c, sc)
    order = (*inside, channel) if node.attributes.get("mode", "DCR") == "DCR" else (channel, *inside)
    shape, strides = zip((n, sn), *order, (h // size, sh * size), (w // size, sw * size), strict=True)
    _copied(low, node, source.as_strided(shape, strides))


def _copied(low: Lowering, node: Node, view: View, order: tuple[int, ...] | None = None) -> None:
    """Copy a view and let the node's output be the copy under its own shape."""
    made = low.materialize(node.name, view, order)
    shape = low.graph.shapes[node.outputs[0]]
    again = made.reshape(shape)
    if again is None:  # axes of the output interleave in this memory order
        again = low.materialize(node.name, view).reshape(shape)
    assert again is not None
    low.views[node.outputs[0]] = again


def concat(low: Lowering, group: Group) -> None:
    """A view where all inputs lie side by side; else copies of those that were not made in place."""
    node, first = _only(low, group)
    axis = node.axis(len(first.shape))
    if node.outputs[0] not in low.views and (whole := _side_by_side(low, node, axis)) is not None:
        low.views[node.outputs[0]] = whole
        return
    out = low.output(node.outputs[0], memory_order(first))
    kernels: list[LoweredKernel] = []
    start = 0
    for name in node.inputs:
        source = low.view(name)
        length = source.shape[axis]
        place = out.slice(axis, start, length)
        start += length
        if source != place and source.tensor.size:
            kernels.append(low.copy(source, place))
    if kernels:
        low.emit(node.name, "concat", kernels)


def _side_by_side(low: Lowering, node: Node, axis: int) -> View | None:
    """The one view that covers all inputs, when each begins where the one before it ends."""
    views = [low.view(name) for name in node.inputs]
    first, at = views[0], views[0].offset
    for view in views:
        if (view.buffer, view.offset, view.strides) != (first.buffer, at, first.strides):
            return None
        at += view.shape[axis] * view.strides[axis]
    if low.buffers[first.buffer].kind != "value":
        return None
    return first.as_strided(low.graph.shapes[node.outputs[0]], first.strides)


def pad(low: Lowering, group: Group) -> None:
    """A copy inside, and a constant in each of the boxes around it."""
    node, source = _only(low, group)
    if node.attributes.get("mode", "constant") != "constant":
        raise UserError(f"{node.name}: Pad of mode {node.attributes['mode']}, only constant is supported")
    value = float(node.attributes.get("value", 0.0))
    if node.given(2):
        value = float(low.graph.constant(node, 2).reshape(-1)[0])
    rank = len(source.shape)
    pads = low.graph.ints(node, "pads", 1) or [0] * 2 * rank
    axes = [a % rank for a in (low.graph.ints(node, "axes", 3) or range(rank))]
    order = channels_behind(rank) if node.outputs[0] in low.bytes else memory_order(source)
    out = low.output(node.outputs[0], order)
    kernels, inside = [], out
    for axis, begin, end in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if begin < 0 or end < 0:
            raise UserError(f"{node.name}: Pad by {begin} and {end}, at least 0")
        length = inside.shape[axis] - begin - end
        for start, count in ((0, begin), (begin + length, end)):
            if count:
                box = inside.slice(axis, start, count)
                kernels.append(low.kernel(mapping.fill(box.tensor, value), [], box))
        inside = inside.slice(axis, begin, length)
    low.emit(node.name, "pad", [*kernels, low.copy(source, inside)])
