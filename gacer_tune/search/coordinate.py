"""Coordinate descent (ICCAD'21): change one decision at a time, go on from the best schedule measured so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.objective import Objective, leaders
from gacer_tune.search.strategy import RandomSearch, Space, nearby, untried
from gacer_tune.search.trial import Trial

_STARTS = 8


@dataclass(frozen=True, slots=True)
class CoordinateDescent:
    """Single moves from the best schedule; when all of them are tried, from the second best, up to the eighth."""

    space: Space
    objective: Objective

    def propose(self, history: Sequence[Trial], count: int) -> list[Schedule]:
        rng = self.space.rng(history)
        tried = {trial.schedule for trial in history}
        found: list[Schedule] = []
        for trial in leaders(history, self.objective)[:_STARTS]:
            wanted = count - len(found)
            found += untried(nearby(self.space, trial.schedule, rng, wanted), tried.union(found), wanted)
            if len(found) == count:
                return found
        return found or RandomSearch(self.space).propose(history, count)
