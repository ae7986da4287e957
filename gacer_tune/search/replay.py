"""A device that knows only what was recorded: searches repeat exactly, and without the machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle, islice

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.device import Pairs
from gacer_tune.search.trial import Failure, Result, Trial


class ReplayDevice:
    """Answers with the results of recorded trials, the last one of each schedule; others are a Failure `illegal`.

    The number of repeats is the recorded one, whatever is asked for. Raises ValueError without trials.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        if not trials:
            raise ValueError("replay: no trials, at least one")
        self._results: dict[Schedule, Result] = {trial.schedule: trial.result for trial in trials}

    @property
    def lanes(self) -> int:
        lanes: int = max(schedule.lanes for schedule in self._results)
        return lanes

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Result:
        del repeats, give_up_s
        recorded = self._results.get(schedule)
        return recorded or Failure("illegal", f"schedule {schedule.digest[:12]} was not recorded")

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        """Recorded runs side by side, from the start again when there are not enough."""
        one, other = self.measure(a, pairs), self.measure(b, pairs)
        if isinstance(one, Failure):
            return one
        if isinstance(other, Failure):
            return other
        return tuple(islice(zip(cycle(one.seconds), cycle(other.seconds), strict=False), pairs))

    def close(self) -> None:
        """Nothing to give back."""
