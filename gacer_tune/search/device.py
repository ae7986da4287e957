"""What the search asks of a machine."""

from __future__ import annotations

import math
from typing import Protocol

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.trial import Failure, Timing

Pairs = tuple[tuple[float, float], ...]


class Device(Protocol):
    """Runs schedules of one workload and times them. Whatever goes wrong with a schedule is a Failure, no exception."""

    @property
    def lanes(self) -> int:
        """Lanes that run at the same time; a schedule may use as many."""

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        """Warm up, then time `repeats` runs; fewer when one takes longer than give_up_s: it will not win."""

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        """Seconds of (a, b) for each of `pairs` pairs of runs, interleaved in one process so that drift hits both."""

    def close(self) -> None:
        """Give back what the device holds; it is not used again."""
