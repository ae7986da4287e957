"""Dependencies by rows: a slice waits only for those slices of another kernel that write the rows it reads.

Rows are what a kernel's work items are blocks of, and its operands say where in memory a row lies. Where two kernels
touch all of a buffer row by row, the bytes of a block of rows of the one tell which rows of the other they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gacer_tune.ir.workload import Kernel, Operand

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """Work items that are blocks of rows: item i is part of block i // inner, which begins at row block * size / parts.

    Fractions are rounded down.
    """

    inner: int
    size: int
    parts: int = 1

    def rows(self, lo: int, hi: int, most: int) -> Span:
        """The rows of items [lo, hi) of a kernel of `most` rows: the first, and the one behind the last."""
        first, behind = lo // self.inner, (hi - 1) // self.inner + 1
        return first * self.size // self.parts, min(behind * self.size // self.parts, most)


@dataclass(frozen=True, slots=True)
class Link:
    """How a kernel depends on an earlier one, `parent`.

    pitches: (bytes of a row of the parent, of a row of the kernel) of what both touch, if that is row by row and the
    same bytes from the first row to the last; () where any row may need all of the parent.
    """

    parent: int
    pitches: tuple[tuple[int, int], ...] = ()

    def needs(self, rows: Span) -> Span:
        """The parent's rows that these rows of the kernel read."""
        return (
            min(rows[0] * own // theirs for theirs, own in self.pitches),
            max(-(-rows[1] * own // theirs) for theirs, own in self.pitches),
        )


def link(number: int, parent: Kernel, kernel: Kernel) -> Link:
    """How a kernel depends on one with this number."""
    found = set()
    for written, read in _shared(parent, kernel):
        if not written.pitch or not read.pitch or _bytes(written, parent) != _bytes(read, kernel):
            return Link(number)
        found.add((written.pitch, read.pitch))
    cut = all(any(variant.cut for variant in one.variants) for one in (parent, kernel))
    return Link(number, tuple(sorted(found))) if cut else Link(number)


def _shared(parent: Kernel, kernel: Kernel) -> Iterable[tuple[Operand, Operand]]:
    for written in (operand for operand in parent.operands if operand.writes):
        for read in kernel.operands:
            if not read.writes and read.buffer == written.buffer:
                yield written, read


def _bytes(operand: Operand, kernel: Kernel) -> Span:
    return operand.start, operand.start + kernel.rows * operand.pitch
