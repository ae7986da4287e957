"""LSTM, GRU and RNN of fixed length, unrolled: nothing downstream knows these operators.

The input projection of all time steps is one MatMul, then each step is one MatMul with the state (two for the GRU that
resets before) and elementwise operators. Limited to 512 steps: the graph grows with each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from gacer_tune.errors import UserError
from gacer_tune.frontend.cells import GATES, Cell, Emitter, Unrolled, step
from gacer_tune.frontend.graph import Graph, Replacement, Uses, rewrite
from gacer_tune.frontend.nodes import Array, attribute, has_input, has_output, label
from gacer_tune.frontend.simplify import canonicalise
from gacer_tune.frontend.structure import name_nodes

MAX_STEPS = 512

_DEFAULT_ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # whether time runs backwards


def unroll(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without LSTM, GRU and RNN, canonical again; the same model if it has none.

    Raises UserError that names the node and what about it is not supported.
    """
    if not any(node.op_type in GATES and not node.domain for node in model.graph.node):
        return model
    graph = Graph.of(model)
    rewrite(graph, (unroll_node,))
    canonicalise(graph)
    result = graph.to_model()
    name_nodes(result.graph)
    return result


def unroll_node(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """A recurrent node as elementary operators; outputs nobody reads are not made."""
    if node.domain or node.op_type not in GATES:
        return None
    where = f"node {label(node)!r} ({node.op_type})"
    _check_attributes(node, where)
    steps, batch = _check_input(uses, node, where)
    cells = _cells(uses, node, where)
    emit = Emitter(uses, node.output[0] or next(name for name in node.output if name))
    sequences: list[list[str]] = []
    finals: list[tuple[str, str | None]] = []
    for index, (cell, backwards) in enumerate(zip(cells, _directions(node, where), strict=True)):
        state = _initial(emit, node, 5, index, len(cells)), _initial(emit, node, 6, index, len(cells))
        order = range(steps - 1, -1, -1) if backwards else range(steps)
        sequence, final = _run(emit, cell, node.input[0], state, order)
        sequences.append(sequence)
        finals.append(final)
    _name_outputs(emit, node, sequences, finals, (steps, 1, batch, cells[0].hidden))
    return Replacement(emit.nodes, emit.constants)


def _run(
    emit: Emitter, cell: Cell, x: str, state: tuple[str | None, str | None], order: Sequence[int]
) -> tuple[list[str], tuple[str, str | None]]:
    """Outputs by time and the last state of one direction."""
    projected = emit.op("MatMul", x, emit.constant(cell.weight.T, "W"))
    bias = cell.early_bias()
    if np.any(bias):
        projected = emit.op("Add", projected, emit.constant(bias, "bias"))
    unrolled = Unrolled.of(cell, emit)
    outputs: dict[int, str] = {}
    h, c = state
    for time in order:
        h, c = step(emit, unrolled, emit.slice(projected, 0, time, time + 1), h, c)
        outputs[time] = h
    return [outputs[time] for time in sorted(outputs)], (outputs[order[-1]], c)


def _name_outputs(
    emit: Emitter,
    node: onnx.NodeProto,
    sequences: list[list[str]],
    finals: list[tuple[str, str | None]],
    shape: tuple[int, ...],
) -> None:
    """Y [steps, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden], as far as they are read."""
    made: list[tuple[int, str]] = []
    if _is_read(emit.uses, node, 0):
        parts = [emit.reshape(_joined(emit, sequence, 0), shape) for sequence in sequences]
        made.append((0, _joined(emit, parts, 1)))
    if _is_read(emit.uses, node, 1):
        made.append((1, _joined(emit, [h for h, _ in finals], 0)))
    if _is_read(emit.uses, node, 2):
        made.append((2, _joined(emit, [c for _, c in finals if c is not None], 0)))
    for index, name in made:
        emit.give(name, node.output[index])


def _is_read(uses: Uses, node: onnx.NodeProto, index: int) -> bool:
    return has_output(node, index) and uses.readers.get(node.output[index], 0) > 0


def _joined(emit: Emitter, names: list[str], axis: int) -> str:
    return names[0] if len(names) == 1 else emit.op("Concat", *names, axis=axis)


def _initial(emit: Emitter, node: onnx.NodeProto, index: int, direction: int, count: int) -> str | None:
    """The initial state of one direction, [1, batch, hidden]; None if it is zero."""
    if not has_input(node, index):
        return None
    given = emit.uses.array(node.input[index])
    if given is not None and not np.any(given):
        return None
    return node.input[index] if count == 1 else emit.slice(node.input[index], 0, direction, direction + 1)


def _check_attributes(node: onnx.NodeProto, where: str) -> None:
    """Refuse variations that are not implemented."""
    if attribute(node, "layout", 0):
        raise UserError(f"{where}: layout 1 (batch first) is not supported, only 0")
    if any(item.name == "clip" for item in node.attribute):
        raise UserError(f"{where}: clip is not supported")
    if attribute(node, "input_forget", 0):
        raise UserError(f"{where}: input_forget (coupled gates) is not supported")
    if has_input(node, 7):
        raise UserError(f"{where}: peepholes (input P) are not supported")
    default = _DEFAULT_ACTIVATIONS[node.op_type] * len(_directions(node, where))
    given: list[bytes] = attribute(node, "activations", [])
    names = [name.decode() for name in given]
    if names and [name.lower() for name in names] != default:
        raise UserError(f"{where}: activations {', '.join(names)} are not supported, only {', '.join(default)}")


def _check_input(uses: Uses, node: onnx.NodeProto, where: str) -> tuple[int, int]:
    """Number of steps and batch, both fixed."""
    shape = uses.shape(node.input[0])
    if shape is None or len(shape) != 3:
        raise UserError(f"{where}: the shape of its input {node.input[0]!r} is not fixed")
    steps, batch = shape[:2]
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"{where}: {steps} time steps, only 1 to {MAX_STEPS} are supported")
    if has_input(node, 4):
        lengths = uses.array(node.input[4])
        if lengths is None or np.any(lengths != steps):
            raise UserError(f"{where}: sequence_lens is only supported as a constant equal to the {steps} time steps")
    return steps, batch


def _directions(node: onnx.NodeProto, where: str) -> tuple[bool, ...]:
    direction = attribute(node, "direction", "forward")
    if direction not in _DIRECTIONS:
        raise UserError(f"{where}: direction {direction!r}, only {', '.join(_DIRECTIONS)} are allowed")
    return _DIRECTIONS[direction]


def _cells(uses: Uses, node: onnx.NodeProto, where: str) -> list[Cell]:
    """The parameters of each direction, which must be constants of fitting shapes."""
    count = len(_directions(node, where))
    weight, recurrence = (_parameter(uses, node, index, where) for index in (1, 2))
    hidden = recurrence.shape[-1]
    rows = GATES[node.op_type] * hidden
    bias = _parameter(uses, node, 3, where) if has_input(node, 3) else np.zeros((count, 2 * rows), weight.dtype)
    fits = weight.shape[:-1] == (count, rows) and recurrence.shape == (count, rows, hidden)
    if not fits or bias.shape != (count, 2 * rows) or attribute(node, "hidden_size", hidden) != hidden:
        raise UserError(f"{where}: the shapes of its weights do not fit together")
    reset_after = node.op_type == "GRU" and attribute(node, "linear_before_reset", 0) != 0
    return [
        Cell(node.op_type, weight[i], recurrence[i], bias[i][:rows], bias[i][rows:], reset_after) for i in range(count)
    ]


def _parameter(uses: Uses, node: onnx.NodeProto, index: int, where: str) -> Array:
    value = uses.array(node.input[index])
    if value is None or value.ndim == 0:
        raise UserError(f"{where}: its weights {node.input[index]!r} are not constant")
    return value
