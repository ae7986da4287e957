"""Attention whose products are made by tiles of bfloat16; scores, softmax and sums are float32.

A work item is a block of rows of one head. It packs keys and values of the head as tiles read them, then for a few
tiles of rows at a time: products with the keys, softmax, products of its rounded exponentials with the values. All sums
have one order, so all variants give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.attention import Attention
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow import DEPTH, PANEL, PIXELS, deep_of
from gacer_tune.kernels.tensor import ceildiv


@dataclass(frozen=True, slots=True)
class NarrowAttention(Attention):
    """As `Attention`."""

    @property
    def deep(self) -> int:
        """Tiles of rows that are added up at a time."""
        return deep_of(ceildiv(self.extents[1], PIXELS))

    @property
    def rows(self) -> int:
        """Of a step."""
        return self.deep * PIXELS

    @property
    def steps(self) -> int:
        """Of a head."""
        return ceildiv(self.extents[1], self.rows)

    @property
    def pitch(self) -> int:
        """Columns of scores: keys in whole lines of bfloat16."""
        return ceildiv(self.extents[2], DEPTH) * DEPTH

    @property
    def chunks(self) -> int:
        """Lines of a query."""
        return ceildiv(self.extents[3], DEPTH)

    @property
    def wide(self) -> int:
        """Columns of an output in whole tiles."""
        return ceildiv(self.extents[4], PIXELS) * PIXELS

    @property
    def panels(self) -> tuple[int, int, int]:
        """bfloat16 of packed keys, packed values, and of the queries and exponentials of a step."""
        queries = self.rows * self.chunks * DEPTH
        return self.pitch * self.chunks * DEPTH, self.pitch * self.wide, queries + self.rows * self.pitch

    @property
    def scratch(self) -> int:
        """Bytes of all panels, and of a step's scores."""
        return 2 * sum(self.panels) + 4 * self.rows * self.pitch


@dataclass(frozen=True, slots=True)
class NarrowAttentionTile:
    """Steps of an item."""

    high: int


def items(spec: NarrowAttention, tile: NarrowAttentionTile, machine: Machine) -> int:  # noqa: ARG001 - all machines
    return spec.extents[0] * ceildiv(spec.steps, tile.high)


def footprint(spec: NarrowAttention, tile: NarrowAttentionTile, machine: Machine) -> int:  # noqa: ARG001
    return spec.scratch


def fits(spec: NarrowAttention) -> bool:
    """Whether it has room on the stack."""
    return spec.scratch <= PANEL


def candidates(spec: NarrowAttention, machine: Machine) -> list[NarrowAttentionTile]:  # noqa: ARG001
    """Variants worth measuring, most promising first: few blocks of a head, because each packs it again."""
    return list(dict.fromkeys(NarrowAttentionTile(ceildiv(spec.steps, blocks)) for blocks in (1, 2, 4)))
