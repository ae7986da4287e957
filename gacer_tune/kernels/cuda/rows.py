"""Variants of `Rows` on a GPU: some neighbouring threads share a row, a block has some rows."""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.runs import FLOATS
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.tensor import ceildiv

KEPT = 32  # values of a row that a thread keeps in registers


@dataclass(frozen=True, slots=True)
class RowsTile:
    """`lanes` threads share each of the `rows` rows of a block; the order of sums depends on lanes."""

    lanes: int
    rows: int

    @property
    def threads(self) -> int:
        return self.lanes * self.rows


def width(spec: Rows, gpu: Gpu) -> int:
    """Neighbours that a thread takes at a time."""
    extent = spec.out.shape[-1]
    together = all(t.strides[-1] == 1 and t.dtype in FLOATS for t in (spec.source, spec.out))
    return gpu.vector if together and extent % gpu.vector == 0 else 1


def lanes(spec: Rows, gpu: Gpu) -> int:
    """Threads of a row: a warp where that keeps the row in registers, else up to 512."""
    found = 32
    while found < 512 and steps(spec, gpu, found) * width(spec, gpu) > KEPT:
        found *= 2
    return found


def steps(spec: Rows, gpu: Gpu, threads: int) -> int:
    """Times that a thread takes its neighbours."""
    return ceildiv(spec.out.shape[-1], threads * width(spec, gpu))


def items(spec: Rows, tile: RowsTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return ceildiv(spec.rows, tile.rows)


def candidates(spec: Rows, gpu: Gpu) -> list[RowsTile]:
    """Variants worth measuring, most promising first."""
    count = lanes(spec, gpu)
    most = max(1, min(256 // count, spec.rows))
    few = RowsTile(count, max(1, 128 // count) if spec.rows > 1 else 1)
    return list(dict.fromkeys([few, RowsTile(count, most), RowsTile(count, 1)]))
