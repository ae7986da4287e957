"""Rule that spells RotaryEmbedding of ai.onnx as products and sums: halves (or pairs) of each head turn by an angle.

left * cos - right * sin, left * sin + right * cos   of the first elements of a head, the rest stays
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from gacer_tune.errors import UserError
from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.nodes import attribute, has_input, label


@dataclass(frozen=True, slots=True)
class _Turn:
    """shape: (batch, rows, heads, depth), or (batch, heads, rows, depth); `turned` elements of depth are turned."""

    emit: Emitter
    shape: tuple[int, ...]
    turned: int
    paired: bool  # neighbours are turned, else halves

    def angles(self, name: str, flat: bool) -> str:
        """(batch, rows, turned / 2) with an axis for the heads."""
        batch, half = self.shape[0], self.turned // 2
        return self.emit.reshape(name, (batch, self.shape[1], 1, half) if flat else (batch, 1, self.shape[2], half))

    def sides(self, x: str) -> tuple[str, str]:
        """What is turned: the halves, or the first and the second of each pair."""
        half = self.turned // 2
        if not self.paired:
            return self.emit.slice(x, 3, 0, half), self.emit.slice(x, 3, half, self.turned)
        whole = self.emit.slice(x, 3, 0, self.turned) if self.turned < self.shape[3] else x
        pairs = self.emit.reshape(whole, (*self.shape[:3], half, 2))
        left, right = (self.emit.slice(pairs, 4, side, side + 1) for side in (0, 1))
        shape = *self.shape[:3], half
        return self.emit.reshape(left, shape), self.emit.reshape(right, shape)

    def joined(self, x: str, sides: tuple[str, str]) -> str:
        """The inverse of `sides`, with what is not turned."""
        rest = [self.emit.slice(x, 3, self.turned, self.shape[3])] if self.turned < self.shape[3] else []
        if not self.paired:
            return self.emit.op("Concat", *sides, *rest, axis=3)
        pairs = [self.emit.reshape(side, (*self.shape[:3], self.turned // 2, 1)) for side in sides]
        whole = self.emit.reshape(self.emit.op("Concat", *pairs, axis=4), (*self.shape[:3], self.turned))
        return self.emit.op("Concat", whole, *rest, axis=3) if rest else whole


def rotary_to_products(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """RotaryEmbedding of 3 or 4 dimensions, by tables of angles for positions or by the angles themselves."""
    if node.op_type != "RotaryEmbedding" or node.domain or any(name and name not in uses.types for name in node.input):
        return None
    emit, x = Emitter(uses, label(node)), node.input[0]
    turn = _turn(emit, node)
    flat = len(uses.types[x].shape) == 3
    tables = (
        [emit.op("Gather", name, node.input[3]) for name in node.input[1:3]] if has_input(node, 3) else node.input[1:3]
    )
    cos, sin = (turn.angles(name, flat) for name in tables)
    value = emit.reshape(x, turn.shape) if flat else x
    left, right = turn.sides(value)
    real = emit.op("Sub", emit.op("Mul", left, cos), emit.op("Mul", right, sin))
    imaginary = emit.op("Add", emit.op("Mul", left, sin), emit.op("Mul", right, cos))
    made = turn.joined(value, (real, imaginary))
    if flat:
        made = emit.reshape(made, uses.types[x].shape)
    emit.give(made, node.output[0], node.name)
    return Replacement(emit.nodes, emit.constants)


def _turn(emit: Emitter, node: onnx.NodeProto) -> _Turn:
    """The shapes, where they fit together."""
    where = f"node {label(node)!r} (RotaryEmbedding)"
    shape, cos, sin = (emit.uses.types[name].shape for name in node.input[:3])
    heads = attribute(node, "num_heads", 0)
    if len(shape) == 3:
        if heads < 1 or shape[2] % heads:
            raise UserError(f"{where}: a width of {shape[2]} does not split into num_heads {heads}")
        shape = shape[0], shape[1], heads, shape[2] // heads
    if len(shape) != 4:
        raise UserError(f"{where}: {len(shape)} dimensions are not supported, only 3 and 4")
    turned = attribute(node, "rotary_embedding_dim", 0) or shape[3]
    if turned % 2 or turned > shape[3] or {cos[-1], sin[-1]} != {turned // 2}:
        tables = f"tables of width {cos[-1]} and {sin[-1]}"
        raise UserError(
            f"{where}: {turned} of {shape[3]} elements are to be turned by {tables}, half of them is needed"
        )
    return _Turn(emit, shape, turned, bool(attribute(node, "interleaved", 0)))
