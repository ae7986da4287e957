"""One time step of LSTM, GRU and RNN in elementary operators, and the parameters of one direction.

A step sees its share of the input projection, [1, batch, gates * hidden], which holds x W^T and all biases that may be
added early, and the state, [1, batch, hidden]. A state that is None is zero: nothing is computed for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from gacer_tune.frontend.graph import Uses
from gacer_tune.frontend.nodes import Array

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_AXES_BY_INPUT = {"ReduceSum": 13}


@dataclass(slots=True)
class Emitter:
    """Collects nodes and constants under fresh names that start with `base`."""

    uses: Uses
    base: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    limits: dict[int, str] = field(default_factory=dict)

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """A new node; returns the name of its output."""
        name = self.uses.fresh(f"{self.base}/{op_type}_{len(self.nodes)}")
        self.nodes.append(helper.make_node(op_type, inputs, [name], self.uses.fresh(f"{name}/node"), **attributes))
        return name

    def constant(self, value: Array, label: str) -> str:
        """A new constant; returns its name."""
        self.constants.append(self.uses.constant(value, f"{self.base}/{label}_{len(self.constants)}"))
        return self.constants[-1].name

    def slice(self, value: str, axis: int, start: int, end: int) -> str:
        """value[..., start:end, ...] along one axis."""
        if self.uses.opset < 10:
            return self.op("Slice", value, axes=[axis], starts=[start], ends=[end])
        return self.op("Slice", value, self.limit(start), self.limit(end), self.limit(axis))

    def limit(self, number: int) -> str:
        """The constant [number], one for all slices."""
        if number not in self.limits:
            self.limits[number] = self.constant(np.asarray([number], np.int64), "slice")
        return self.limits[number]

    def reshape(self, value: str, shape: tuple[int, ...]) -> str:
        """The value in another shape."""
        return self.op("Reshape", value, self.constant(np.asarray(shape, np.int64), "shape"))

    def reduce(self, op_type: str, value: str, axes: Sequence[int], keepdims: int = 1) -> str:
        """The value reduced along some axes, which are an input of the operator since some operator set."""
        if self.uses.opset < _AXES_BY_INPUT.get(op_type, 18):
            return self.op(op_type, value, axes=axes, keepdims=keepdims)
        return self.op(op_type, value, self.constant(np.asarray(axes, np.int64), "axes"), keepdims=keepdims)

    def give(self, value: str, output: str, name: str = "") -> None:
        """Let the value be an output of what is replaced; name: of the node that does it."""
        self.nodes.append(
            helper.make_node("Identity", [value], [output], name or self.uses.fresh(f"{output}/identity"))
        )

    def plus(self, value: str, other: str | None) -> str:
        """value + other, where None is zero."""
        return value if other is None else self.op("Add", value, other)


@dataclass(frozen=True, slots=True)
class Cell:
    """Parameters of one direction as numpy arrays: weight [gates * hidden, input], recurrence [gates * hidden, hidden].

    `input_bias` and `state_bias` are [gates * hidden]; `reset_after` is the linear_before_reset of a GRU.
    """

    op_type: str
    weight: Array
    recurrence: Array
    input_bias: Array
    state_bias: Array
    reset_after: bool = False

    @property
    def hidden(self) -> int:
        """Size of the state."""
        return int(self.recurrence.shape[1])

    def early_bias(self) -> Array:
        """What is added to the projection of all steps at once: all but the bias a GRU multiplies by its reset gate."""
        late = self.late_bias()
        total = self.input_bias + self.state_bias
        if late is not None:
            total = np.concatenate([total[: -self.hidden], self.input_bias[-self.hidden :]])
        return np.asarray(total)

    def late_bias(self) -> Array | None:
        """The state bias of the hidden gate where it is inside the product with the reset gate."""
        return self.state_bias[-self.hidden :] if self.reset_after else None


@dataclass(frozen=True, slots=True)
class Unrolled:
    """A cell whose constants are in the graph: names of R^T in the parts that the steps multiply with."""

    cell: Cell
    recurrences: tuple[str, ...]
    late_bias: str | None

    @staticmethod
    def of(cell: Cell, emit: Emitter) -> Unrolled:
        """Put the constants that all steps share into the graph."""
        gates = cell.recurrence.T
        split = [gates]
        if cell.op_type == "GRU" and not cell.reset_after:
            split = [gates[:, : 2 * cell.hidden], gates[:, 2 * cell.hidden :]]
        late = cell.late_bias()
        return Unrolled(
            cell,
            tuple(emit.constant(part, "R") for part in split),
            emit.constant(late, "Rb") if late is not None and np.any(late) else None,
        )


def step(emit: Emitter, unrolled: Unrolled, projected: str, h: str | None, c: str | None) -> tuple[str, str | None]:
    """State (h, c) after one step; c only for LSTM."""
    if unrolled.cell.op_type == "LSTM":
        return _lstm(emit, unrolled, projected, h, c)
    if unrolled.cell.op_type == "GRU":
        return (_gru_reset_after if unrolled.cell.reset_after else _gru)(emit, unrolled, projected, h), None
    return emit.op("Tanh", emit.plus(projected, _times(emit, h, unrolled.recurrences[0]))), None


def _times(emit: Emitter, h: str | None, recurrence: str) -> str | None:
    return None if h is None else emit.op("MatMul", h, recurrence)


def _lstm(emit: Emitter, unrolled: Unrolled, projected: str, h: str | None, c: str | None) -> tuple[str, str]:
    size = unrolled.cell.hidden
    gates = emit.plus(projected, _times(emit, h, unrolled.recurrences[0]))
    parts = [emit.slice(gates, 2, index * size, (index + 1) * size) for index in range(4)]
    write, read, forget = (emit.op("Sigmoid", part) for part in parts[:3])
    kept = None if c is None else emit.op("Mul", forget, c)
    cell = emit.plus(emit.op("Mul", write, emit.op("Tanh", parts[3])), kept)
    return emit.op("Mul", read, emit.op("Tanh", cell)), cell


def _gru(emit: Emitter, unrolled: Unrolled, projected: str, h: str | None) -> str:
    """n = tanh(x W_n + (r * h) R_n)"""
    size = unrolled.cell.hidden
    early = emit.plus(emit.slice(projected, 2, 0, 2 * size), _times(emit, h, unrolled.recurrences[0]))
    update = emit.op("Sigmoid", emit.slice(early, 2, 0, size))
    new = emit.slice(projected, 2, 2 * size, 3 * size)
    if h is not None:
        reset = emit.op("Sigmoid", emit.slice(early, 2, size, 2 * size))
        new = emit.op("Add", new, emit.op("MatMul", emit.op("Mul", reset, h), unrolled.recurrences[1]))
    return _mixed(emit, update, emit.op("Tanh", new), h)


def _gru_reset_after(emit: Emitter, unrolled: Unrolled, projected: str, h: str | None) -> str:
    """n = tanh(x W_n + r * (h R_n + b))"""
    size = unrolled.cell.hidden
    product = _times(emit, h, unrolled.recurrences[0])
    state = None if product is None else emit.slice(product, 2, 0, 2 * size)
    early = emit.plus(emit.slice(projected, 2, 0, 2 * size), state)
    update = emit.op("Sigmoid", emit.slice(early, 2, 0, size))
    new = emit.slice(projected, 2, 2 * size, 3 * size)
    inside = unrolled.late_bias
    if product is not None:
        inside = emit.plus(emit.slice(product, 2, 2 * size, 3 * size), inside)
    if inside is not None:
        reset = emit.op("Sigmoid", emit.slice(early, 2, size, 2 * size))
        new = emit.op("Add", new, emit.op("Mul", reset, inside))
    return _mixed(emit, update, emit.op("Tanh", new), h)


def _mixed(emit: Emitter, update: str, new: str, h: str | None) -> str:
    """(1 - update) * new + update * h, written as new + update * (h - new)."""
    if h is None:
        return emit.op("Sub", new, emit.op("Mul", update, new))
    return emit.op("Add", new, emit.op("Mul", update, emit.op("Sub", h, new)))
