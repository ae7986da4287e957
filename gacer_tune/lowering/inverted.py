"""Lowers a depthwise convolution with the 1x1 convolutions before and behind it to one kernel where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gacer_tune.kernels import pack
from gacer_tune.kernels.inverted import Inverted, candidates, scratch
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.program import NOTHING, Program
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.lowering import narrow, narrow_inverted
from gacer_tune.lowering.context import Lowering, program
from gacer_tune.lowering.conv_node import ConvNode, read_conv
from gacer_tune.lowering.convolution import bias_of, channels_behind, channels_last, image_shape, images
from gacer_tune.lowering.fusion import Group

Shape = tuple[int, ...]
Alone = Callable[[Lowering, Group], None]

ROWS = 14  # so many rows of all images are shared evenly by a few lanes
# Rows that two lanes both compute, times the channels they are made from, may cost what is gained where this many
# rows of the wide image stay in the cache: behind both products, and where the second one is not of the kernel.
REPEATED, WRITTEN = 10.0, 2.5


def lower(low: Lowering, group: Group, alone: Alone) -> None:
    """Emit an inverted residual: in one kernel the parts that gain by it, the others `alone`."""
    nodes = [read_conv(low.graph, low.graph.nodes[part.first]) for part in group.parts]
    shapes = _shapes(low, group.parts)
    first, last = _fused(low.machine, nodes, shapes)
    for part in group.parts[:first]:
        alone(low, part)
    fused = group.parts[first : last + 1], nodes[first : last + 1], shapes[first : last + 2]
    if first == last or not _emitted(low, *fused):
        for part in group.parts[first : last + 1]:
            alone(low, part)
    for part in group.parts[last + 1 :]:
        alone(low, part)


def _fused(machine: Target, nodes: Sequence[ConvNode], shapes: Sequence[Shape]) -> tuple[int, int]:
    """The first and the last part of the one kernel; both the depthwise convolution where there is to be none."""
    number, last = next(i for i, node in enumerate(nodes) if node.depthwise), len(nodes) - 1
    if not isinstance(machine, Machine):
        return number, number
    if shapes[number + 1][0] * shapes[number + 1][1] < ROWS:
        return number, number
    sliding = nodes[number]
    repeated = max((sliding.window[0] - 1) * sliding.dilation[0] + 1 - sliding.stride[0], 0)
    gained = REPEATED if number < last else WRITTEN
    dear = repeated * shapes[0][3] > gained * shapes[0][0] * shapes[0][1]
    room = narrow_inverted.worth if narrow.tiled(machine) else _room
    for first in range(number if dear else 0, number + 1):
        if first < last and room(nodes[first : last + 1], shapes[first : last + 2], machine):
            return first, last
    return number, number


def _shapes(low: Lowering, parts: Sequence[Group]) -> list[Shape]:
    """Of the source and of what each part makes, as (n, h, w, c)."""
    graph = low.graph
    names = [graph.nodes[parts[0].first].inputs[0], *(graph.nodes[part.last].outputs[0] for part in parts)]
    return [image_shape(graph.shapes[name]) for name in names]


def _room(nodes: Sequence[ConvNode], shapes: Sequence[Shape], machine: Machine) -> bool:
    """Whether weights and scratch of the thinnest items take at most half of a core's cache."""
    spec = _spec(nodes, [dense(shape) for shape in shapes], [NOTHING] * len(nodes))
    weights = sum(part.weight(machine).nbytes for part in spec.parts)
    return weights + min(scratch(spec, tile, machine) for tile in candidates(spec, machine)) <= machine.l2 // 2


def _spec(nodes: Sequence[ConvNode], tensors: Sequence[Tensor], programs: Sequence[Program]) -> Inverted:
    """tensors: source, what each part makes."""
    number = next(i for i, node in enumerate(nodes) if node.depthwise)
    ends = {
        i: node.conv_spec(tensors[i], tensors[i + 1], programs[i]) for i, node in enumerate(nodes) if not node.depthwise
    }
    sliding = nodes[number].depthwise_spec(tensors[number], tensors[number + 1], programs[number])
    return Inverted(ends.get(number - 1), sliding, ends.get(number + 1))


def _emitted(low: Lowering, parts: Sequence[Group], nodes: Sequence[ConvNode], shapes: Sequence[Shape]) -> bool:
    """Emit them as one kernel, if that can be."""
    if narrow.tiled(low.machine):
        return narrow_inverted.lower(low, parts, nodes, shapes)
    graph, name = low.graph, low.graph.nodes[parts[0].first].name
    source = channels_last(low, name, low.view(graph.nodes[parts[0].first].inputs[0]), nodes[0].depthwise)
    reads, programs = images([source]), []
    for part, given in zip(parts, nodes, strict=True):
        node = graph.nodes[part.first]
        epilogue = low.epilogue(part, bias_of(low, node))
        operands = images(epilogue.operands)
        packed = (
            pack.depthwise_weight(given.weight, low.machine)
            if given.depthwise
            else pack.conv_weight(given.weight, 1, low.machine)
        )
        reads += [low.weight(f"{node.name}.weight", packed), *operands]
        programs.append(program(epilogue, operands))
    out = images([low.output(graph.nodes[parts[-1].last].outputs[0], channels_behind(4))])[0]
    between = [dense(shape) for shape in shapes[1:-1]]
    spec = _spec(nodes, [reads[0].tensor, *between, out.tensor], programs)
    low.emit(name, "conv2d_inverted", [low.kernel(spec, reads, out)])
    return True
