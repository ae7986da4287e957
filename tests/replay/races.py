"""Searches on recorded measurements: within a space of which everything is known, and on a surrogate of a mix."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.schedule import Schedule
from gacer_tune.learning.recording import Recording
from gacer_tune.search.coordinate import CoordinateDescent
from gacer_tune.search.evolve import Evolve
from gacer_tune.search.objective import Objective
from gacer_tune.search.ranking import Ranker
from gacer_tune.search.replay import ReplayDevice
from gacer_tune.search.seeds import baselines, seeds
from gacer_tune.search.strategy import RandomSearch, Space, Strategy
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.search.tune import ROUND, TuneOptions

NAMES = ("evolve", "coordinate", "random")
_TRIES = 400  # moves drawn before a schedule counts as one without neighbours in the record


@dataclass(frozen=True)
class RecordedSpace(Space):
    """A space that holds the recorded schedules and no others: what a move leads out of is drawn again."""

    recorded: tuple[Schedule, ...] = ()
    _known: frozenset[Schedule] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset(self.recorded))

    def sample(self, rng: random.Random) -> Schedule:
        return rng.choice(self.recorded)

    def near(self, schedule: Schedule, rng: random.Random) -> Iterator[Schedule]:
        return (moved for moved in islice(super().near(schedule, rng), _TRIES) if moved in self._known)

    def crossed(self, one: Schedule, other: Schedule, rng: random.Random) -> Schedule:
        child = super().crossed(one, other, rng)
        return child if child in self._known else one


def optimum_s(recording: Recording) -> float:
    return min(trial.result.median_s for trial in recording.trials if isinstance(trial.result, Timing))


def within(recording: Recording, options: TuneOptions) -> list[float]:
    """Best seconds after 1, 2, ... measurements of a strategy that knows the recorded schedules only."""
    workload, profile, device = recording.workload, recording.profile, ReplayDevice(recording.trials)
    starts = tuple(baselines(workload, profile, device.lanes).values())
    recorded = tuple(trial.schedule for trial in recording.trials)
    space = RecordedSpace(workload, device.lanes, starts, options.seed, options.only, recorded=recorded)
    known = set(recorded)
    offered = tuple(schedule for schedule in seeds(workload, profile, device.lanes) if schedule in known)
    strategy = _strategy(options.strategy, space, profile, offered)
    history: list[Trial] = []
    proposals: Sequence[Schedule] = starts
    while len(history) < options.trials and proposals:
        for schedule in proposals[: options.trials - len(history)]:
            history.append(Trial(schedule, device.measure(schedule, 1), options.strategy, len(history)))
        proposals = strategy.propose(history, ROUND)
    return falling(trial.result.median_s for trial in history if isinstance(trial.result, Timing))


def _strategy(name: str, space: Space, profile: Profile, offered: tuple[Schedule, ...]) -> Strategy:
    objective = Objective(space.workload)
    if name == "random":
        return RandomSearch(space)
    if name == "coordinate":
        return CoordinateDescent(space, objective)
    return Evolve(space, Ranker(space.workload, profile, objective, space.seed), offered)


def falling(values: Iterator[float]) -> list[float]:
    """The least value so far."""
    curve: list[float] = []
    for value in values:
        curve.append(min(value, curve[-1] if curve else inf))
    return curve
