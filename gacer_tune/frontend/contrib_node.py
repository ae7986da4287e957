"""A node of ONNX Runtime's own operators while it is spelt out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.nodes import has_input, label, op_name

_UNSQUEEZE_BY_INPUT = 13


@dataclass(frozen=True, slots=True)
class Given:
    """The node, what collects the new ones, and the ranks of values as far as they are known (rules add theirs)."""

    node: onnx.NodeProto
    emit: Emitter
    ranks: dict[str, int]

    @property
    def where(self) -> str:
        return f"node {label(self.node)!r} ({op_name(self.node)})"

    def has(self, number: int) -> bool:
        return has_input(self.node, number)

    def number(self, value: float) -> str:
        """A constant of float32."""
        return self.emit.constant(np.asarray(value, np.float32), "number")

    def plus_input(self, name: str, number: int) -> str:
        """The value plus an input that may be left out."""
        return self.emit.plus(name, self.node.input[number] if self.has(number) else None)

    def unsqueezed(self, name: str, *axes: int) -> str:
        """The value with new axes of length 1."""
        if self.emit.uses.opset < _UNSQUEEZE_BY_INPUT:
            return self.emit.op("Unsqueeze", name, axes=axes)
        return self.emit.op("Unsqueeze", name, self.emit.constant(np.asarray(axes), "axes"))

    def extent(self, name: str, axis: int) -> str:
        """The length of an axis, a scalar that is computed from the shape."""
        return self.emit.op("Gather", self.emit.op("Shape", name), self.emit.constant(np.asarray(axis), "axis"))

    def counted(self, extent: str) -> str:
        """0, 1, 2 and so on below a scalar."""
        first, step = (self.emit.constant(np.asarray(value), "count") for value in (0, 1))
        return self.emit.op("Range", first, extent, step)
