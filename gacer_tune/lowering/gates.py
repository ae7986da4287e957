"""Lowers a step of a recurrent net to one kernel. Values are taken apart into parts as wide as the state."""

from __future__ import annotations

from gacer_tune.kernels import pack
from gacer_tune.kernels.gates import Gates
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.lowering import elementwise
from gacer_tune.lowering.context import Lowering
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Node
from gacer_tune.lowering.recurrent import bounds, kept
from gacer_tune.lowering.view import View, flatten


def lower(low: Lowering, group: Group) -> None:
    """Emit the kernel of a group that `recurrent.step` found."""
    graph = low.graph
    product, *rest = (graph.nodes[number] for number in group.nodes)
    weight = graph.constants[product.inputs[1]]
    taken = _Parts(low, product, weight.shape[0])
    for node in rest:
        taken.take(node)
    stored = kept(graph, group.nodes)
    outs = [_rows(low.output(node.outputs[0])) for node in stored]
    results = tuple(taken.parts[node.outputs[0]][0].index for node in stored)
    packed = low.weight(f"{product.name}.weight", pack.gate_weight(weight, low.machine))
    left, operands = _rows(low.view(product.inputs[0])), taken.operands
    program = Program(tuple(taken.steps), tuple(view.tensor for view in operands))
    parts = weight.shape[1] // weight.shape[0]
    spec = Gates(left.tensor, parts, tuple(view.tensor for view in outs), program, results)
    low.emit(product.name, "matmul_gates", [low.kernel(spec, (left, packed, *operands), *outs)])


class _Parts:
    """A program under construction; parts[name]: what a value's units are, for each of its parts."""

    def __init__(self, low: Lowering, product: Node, units: int) -> None:
        self.low, self.units = low, units
        self.steps: list[Step] = []
        self.operands: list[View] = []
        name = product.outputs[0]
        self.parts = {name: [Arg("acc", p) for p in range(low.graph.shapes[name][-1] // units)]}

    def take(self, node: Node) -> None:
        name, graph = node.outputs[0], self.low.graph
        if node.op == "Slice":
            cut = bounds(graph, node)
            assert cut is not None  # recurrent.step takes no other
            self.parts[name] = self.parts[node.inputs[0]][cut.start // self.units : cut.stop // self.units]
            return
        shape, made = graph.shapes[name], []
        for part in range(shape[-1] // self.units):
            args = [self._argument(one, shape, part) for one in elementwise.operands_of(node)]
            self.steps += elementwise.steps(graph, node, args, len(self.steps))
            made.append(Arg("step", len(self.steps) - 1))
        self.parts[name] = made

    def _argument(self, name: str, shape: tuple[int, ...], part: int) -> Arg:
        if name in self.parts:
            return self.parts[name][part]
        if (scalar := elementwise.scalar(self.low.graph, name)) is not None:
            return scalar
        whole = self.low.view(name).broadcast(shape)
        view = _rows(whole.slice(len(shape) - 1, part * self.units, self.units))
        if view not in self.operands:
            self.operands.append(view)
        return Arg("operand", self.operands.index(view))


def _rows(view: View) -> View:
    """(1, rows, units) -> (rows, units): all axes but one of those in front have one element."""
    found = flatten([view], len(view.shape) - 1)
    assert found is not None
    return found[0]
