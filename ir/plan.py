"""What follows from a schedule: for each lane its slices in order, with their waits, and where every buffer lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wait:
    """The slice starts only when `lane` has finished its first `count` slices."""

    lane: int
    count: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Work items [lo, hi) of one variant of one kernel. `kernel` counts in the tenant's kernels."""

    tenant: int
    kernel: int
    variant: int
    lo: int
    hi: int
    cluster: int
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """Byte offsets of every buffer in one block, 64-byte aligned. Weights come first and are shared by content."""

    offsets: tuple[tuple[int, ...], ...]  # [tenant][buffer]
    weights_nbytes: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """lanes[l] are the slices of lane l in the order they run.

    priorities and shares, where lanes have any, are those of the schedule, for every lane; steal is the schedule's.
    """

    lanes: tuple[tuple[Slice, ...], ...]
    memory: Memory
    priorities: tuple[int, ...] = ()
    shares: tuple[int, ...] = ()
    steal: bool = False

    @property
    def parts(self) -> tuple[tuple[int, int] | None, ...]:
        """Parts [first, behind) of the GPU of each lane that has a share; None for those with all of it."""
        found: list[tuple[int, int] | None] = []
        used = 0
        for share in self.shares or (0,) * len(self.lanes):
            found.append((used, used + share) if share else None)
            used += share
        return tuple(found)

    def slices(self) -> Iterator[Slice]:
        for lane in self.lanes:
            yield from lane
