"""lower_model: one canonical ONNX model -> ops, kernels, buffers and weights of one tenant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Buffer, Port
from gacer_tune.kernels import mapping
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.tensor import NBYTES
from gacer_tune.lowering import fallback, heavy, images, layout, pooling, rows, transposed
from gacer_tune.lowering.context import CHANNELS_LAST, LoweredOp, Lowering, program
from gacer_tune.lowering.elementwise import ELEMENTWISE
from gacer_tune.lowering.fusion import Group, fuse
from gacer_tune.lowering.graph import Array, Graph, read_graph
from gacer_tune.lowering.interleave import INTERLEAVE, interleave, interleaved
from gacer_tune.lowering.quantized import BYTE_CONV, BYTE_MATMUL, of_bytes
from gacer_tune.lowering.view import memory_order

Lower = Callable[[Lowering, Group], None]


@dataclass(frozen=True, slots=True)
class LoweredModel:
    """weights: packed constants by buffer number; packed: the safetensors file that they are mapped from, if any.

    rounds: whether values are rounded to whole numbers on the way.
    """

    ops: tuple[LoweredOp, ...]
    buffers: tuple[Buffer, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: dict[int, Array]
    packed: Path | None = None
    rounds: bool = False


def elementwise(low: Lowering, group: Group) -> None:
    """Nodes without an anchor: one map over the output, its axes in the order of the first operand of full size."""
    name = low.graph.nodes[group.last].outputs[0]
    epilogue = low.epilogue(group)
    shape = low.graph.shapes[name]
    full = [view for view in epilogue.operands if all(s or n == 1 for s, n in zip(view.strides, shape, strict=True))]
    order = memory_order(full[0]) if full else None
    out = low.output(name, order)
    spec = mapping.mapping(out.tensor, program(epilogue, epilogue.operands))
    low.emit(low.graph.nodes[group.first].name, "map", [low.kernel(spec, epilogue.operands, out)])


# Their kernels know values of float32 only.
FLOAT_RULES: dict[str, Lower] = {
    "Conv": heavy.conv,
    "ConvTranspose": transposed.conv_transpose,
    "MatMul": heavy.matmul,
    "Gemm": heavy.gemm,
    BYTE_CONV: heavy.conv,
    BYTE_MATMUL: heavy.matmul,
    **images.FLOAT_RULES,
    **pooling.RULES,
    **rows.FLOAT_RULES,
}


def _of_floats(rule: Lower) -> Lower:
    """The rule, which refuses values of other types."""

    def lower(low: Lowering, group: Group) -> None:
        node = low.graph.nodes[group.first]
        dtype = low.graph.dtypes[node.inputs[0]]
        if dtype != "float32":
            raise UserError(f"{node.name}: {node.op.removeprefix('gacer.')} of {dtype}, only float32 is supported")
        rule(low, group)

    return lower


RULES: dict[str, Lower] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **{op: _of_floats(rule) for op, rule in FLOAT_RULES.items()},
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), layout.reshape),
    "Transpose": layout.transpose,
    "Slice": layout.cut,
    "Split": layout.split,
    "Expand": layout.expand,
    "Tile": layout.tile,
    "DepthToSpace": layout.depth_to_space,
    "SpaceToDepth": layout.space_to_depth,
    "Concat": layout.concat,
    INTERLEAVE: interleave,
    "Pad": layout.pad,
    **images.RULES,
    **rows.RULES,
}


def lower_model(model: onnx.ModelProto, machine: Target, bounds: dict[str, int], lanes: int = 1) -> LoweredModel:
    """Lower a model that `frontend.load.load_model` returned; bounds: exclusive limits of index inputs by name.

    lanes: how many may share a kernel's work items.

    Raises UserError that lists every operator it cannot lower.
    """
    graph = read_graph(model)
    fallback.require_lowerable(model, graph, RULES)
    _require_known_types(graph)
    graph, stored_as_bytes = of_bytes(interleaved(graph), machine)
    low = Lowering(graph, machine, layout.concat_slots(graph), lanes, bytes=stored_as_bytes)
    inputs = tuple(_input(low, name, bounds.get(name, 0)) for name in graph.inputs)
    for group in fuse(graph, recurrent=isinstance(machine, Machine)):
        fallback.lower_group(low, group, RULES)
    outputs = tuple(_output(low, name) for name in graph.outputs)
    rounds = any(node.op == "Round" for node in graph.nodes)
    return LoweredModel(tuple(low.ops), tuple(low.buffers), inputs, outputs, low.weights, rounds=rounds)


def _require_known_types(graph: Graph) -> None:
    """Refuse inputs and results that kernels cannot store."""
    made = [(f"{node.name}: output {name}", name) for node in graph.nodes for name in node.outputs if name]
    for where, name in [*((f"input {name}", name) for name in graph.inputs), *made]:
        if graph.dtypes[name] not in NBYTES:
            raise UserError(f"{where}: type {graph.dtypes[name]}, allowed are {', '.join(NBYTES)}")


def _input(low: Lowering, name: str, bound: int) -> Port:
    shape, dtype = low.graph.shapes[name], low.graph.dtypes[name]
    view = low.fresh(name, shape, dtype)
    low.buffers[view.buffer] = Buffer(name, low.buffers[view.buffer].nbytes, "input")
    low.views[name] = view
    if isinstance(low.machine, Gpu) and low.stored(dtype) != dtype:
        # Images are brought into the order of convolutions on the way.
        order = CHANNELS_LAST if len(shape) == 4 else None
        low.views[name] = low.fresh(f"{name}.stored", shape, low.stored(dtype), order)
        low.emit(f"{name}.stored", "copy", [low.copy(view, low.views[name])])
    return Port(name, view.buffer, shape, dtype, bound)


def _output(low: Lowering, name: str) -> Port:
    """An output is dense and alone in its buffer; what is not is copied there."""
    view = low.view(name)
    whole = view.offset == 0 and view.tensor.dense and low.buffers[view.buffer].kind == "output"
    if not whole:
        out = low.fresh(name, view.shape, low.graph.dtypes[name])
        low.buffers[out.buffer] = Buffer(name, low.buffers[out.buffer].nbytes, "output")
        low.emit(f"{name}.output", "copy", [low.copy(view, out)])
        view = out
    return Port(name, view.buffer, view.shape, view.dtype)
