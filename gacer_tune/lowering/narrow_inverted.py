"""Lowers an inverted residual to one kernel by tiles of bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from gacer_tune.kernels import pack
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow import FEWEST, NarrowConv
from gacer_tune.kernels.narrow_inverted import THINNEST, NarrowInverted, fits, footprint
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.lowering.context import Lowering, program
from gacer_tune.lowering.conv_node import ConvNode
from gacer_tune.lowering.convolution import bias_of, channels_behind, channels_last, images
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.view import View, flatten

Shape = tuple[int, ...]


def worth(nodes: Sequence[ConvNode], shapes: Sequence[Shape], machine: Machine) -> bool:
    """Whether these convolutions can be one kernel, whose weights and scratch take at most half of a core's cache.

    shapes: (n, h, w, c) of the source and of what each of them makes.
    """
    spec = _spec(nodes, shapes, (None, None), [NOTHING] * len(nodes))
    channels = [tensor.shape[3] for part in spec.products for tensor in (part.source, part.out)]
    return min(channels) >= FEWEST and fits(spec) and footprint(spec, THINNEST, machine) <= machine.l2 // 2


def lower(low: Lowering, parts: Sequence[Group], nodes: Sequence[ConvNode], shapes: Sequence[Shape]) -> bool:
    """Emit them as one kernel; where the pixels of an operand are in no one row do nothing, and say so."""
    anchors = [low.graph.nodes[part.first] for part in parts]
    name, last = anchors[0].name, low.graph.nodes[parts[-1].last].outputs[0]
    epilogues = [low.epilogue(part, bias_of(low, anchor)) for part, anchor in zip(parts, anchors, strict=True)]
    views = [images(epilogue.operands) for epilogue in epilogues]
    views[0].insert(0, images([channels_last(low, name, low.view(anchors[0].inputs[0]), nodes[0].depthwise)])[0])
    views[-1].append(images([low.output(last, channels_behind(4))])[0])
    rows = [found if given.depthwise else _row(found) for found, given in zip(views, nodes, strict=True)]
    behind = [found for found in rows if found is not None]
    if len(behind) < len(parts):
        return False
    source, out = behind[0].pop(0), behind[-1].pop()
    programs = [program(epilogue, found) for epilogue, found in zip(epilogues, behind, strict=True)]
    reads = [source]
    for anchor, given, found in zip(anchors, nodes, behind, strict=True):
        reads += [_weight(low, f"{anchor.name}.weight", given), *found]
    spec = _spec(nodes, shapes, (source.tensor, out.tensor), programs)
    low.emit(name, "conv2d_inverted_tiles", [low.kernel(spec, reads, out)])
    return True


def _weight(low: Lowering, name: str, given: ConvNode) -> View:
    if given.depthwise:
        return low.weight(name, pack.depthwise_weight(given.weight, low.machine))
    return low.weight(name, pack.narrow_weight(given.weight, folds=False), exact=True)


def _row(views: Sequence[View]) -> list[View] | None:
    """(n, h, w, c) -> (1, 1, n h w, c), where the strides of all of them allow it."""
    found = flatten(list(views), 3) if views else []
    return None if found is None else [view.as_strided((1, 1, *view.shape), (0, 0, *view.strides)) for view in found]


def _spec(
    nodes: Sequence[ConvNode],
    shapes: Sequence[Shape],
    ends: tuple[Tensor | None, Tensor | None],
    programs: Sequence[Program],
) -> NarrowInverted:
    """ends: the first and the last operand as their parts see them; values of their own where there are none."""
    products: dict[int, NarrowConv] = {}
    number = next(i for i, node in enumerate(nodes) if node.depthwise)
    for i, node in enumerate(nodes):
        shown = [shape if node.depthwise else (1, 1, prod(shape[:3]), shape[3]) for shape in shapes[i : i + 2]]
        source, out = map(dense, shown)
        source = ends[0] if i == 0 and ends[0] is not None else source
        out = ends[1] if i == len(nodes) - 1 and ends[1] is not None else out
        if node.depthwise:
            sliding = node.depthwise_spec(source, out, programs[i])
        else:
            products[i] = NarrowConv(source, out, program=programs[i])
    return NarrowInverted(products.get(number - 1), sliding, products.get(number + 1))
