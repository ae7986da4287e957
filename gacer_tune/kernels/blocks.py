"""How rules cut an output into work items."""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.kernels.tensor import ceildiv

FEW, MANY, MOST = 16, 48, 144  # work items wanted: enough for a few lanes, for fine chunks, for many lanes

_LANES = (2, 4, 8)
_UP_TO = 3  # times the items wanted, where that many share better
_ITEM = 0.001  # the share of a kernel's time that one more item costs


def block_size(total: int, wanted: int, times: int = 1) -> int:
    """Size of the blocks that cut `total` into at least `wanted` items where it can.

    times: items for each block, of the axes that are cut already. Of the sizes that give up to three times the items
    wanted, the one whose items a few lanes share most evenly: 33 in 16 or more -> 1, as 17 items of 2 are 9 for one
    lane and 8 for the other, 18 to 15.
    """
    largest = min(total, max(1, total * times // wanted))
    smallest = min(largest, ceildiv(total, max(1, _UP_TO * wanted // times)))
    return min(range(largest, smallest - 1, -1), key=lambda size: _cost(total, size, times))


@dataclass(frozen=True, slots=True)
class RowsTile:
    """Rows of an item."""

    rows: int


def few_and_many(total: int) -> list[RowsTile]:
    """Few thick items, and many thin ones."""
    return list(dict.fromkeys(RowsTile(block_size(total, wanted)) for wanted in (FEW, MANY)))


def _cost(total: int, size: int, times: int) -> float:
    """The time of the busiest lane over the mean, averaged over numbers of lanes, and what the items cost."""
    blocks = ceildiv(total, size)
    items = times * blocks
    busiest = sum(ceildiv(items, lanes) * lanes / items for lanes in _LANES) / len(_LANES)
    return busiest * size * blocks / total + _ITEM * items
