"""How rules cut an output into work items."""

from __future__ import annotations

from gacer_tune.kernels.tensor import ceildiv

FEW, MANY = 16, 48  # work items wanted: enough for a few lanes, enough for fine chunks


def block_size(total: int, wanted: int) -> int:
    """Size of the blocks that cut `total` into about `wanted` (at most): (10, 4) -> 3."""
    return ceildiv(total, max(1, min(total, wanted)))
