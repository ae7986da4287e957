"""What a strategy is, the space it draws from, and the simplest one: draw at random."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from gacer_tune.ir.neighbours import Only, cross, neighbours, random_schedule
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.streams import random_shares
from gacer_tune.ir.workload import Workload
from gacer_tune.search.trial import Trial

_DRAWS = 50  # draws for each proposal before a space counts as used up
_LONGEST_WALK = 24
_SHARED = 0.5  # of what is drawn at random, where lanes may have shares


class Strategy(Protocol):
    """Proposes schedules; has no state of its own, so equal histories lead to equal proposals."""

    def propose(self, history: Sequence[Trial], count: int) -> list[Schedule]:
        """Up to `count` legal schedules, all different and none in the history; none when it knows no more."""


@dataclass(frozen=True, slots=True)
class Space:
    """The schedules among which to search: all of them, or those that `only` leads to from `starts`.

    shares: also those whose lanes have shares of a GPU. steal: the lanes of all that are drawn steal.
    """

    workload: Workload
    lanes: int
    starts: tuple[Schedule, ...]
    seed: int = 0
    only: Only | None = None
    shares: bool = False
    steal: bool = False

    def rng(self, history: Sequence[Trial]) -> random.Random:
        """The generator of one round: it follows from the seed and the length of the history alone."""
        return random.Random(f"{self.seed}/{len(history)}")

    def sample(self, rng: random.Random) -> Schedule:
        if self.only is not None:
            return self.moved(rng.choice(self.starts), rng, rng.randint(1, _LONGEST_WALK))
        schedule = self.made(random_schedule(self.workload, self.lanes, rng))
        return random_shares(self.workload, schedule, rng) if self.shares and rng.random() < _SHARED else schedule

    def near(self, schedule: Schedule, rng: random.Random) -> Iterator[Schedule]:
        """Single moves away from a schedule, drawn for ever; none where there is no move."""
        return map(self.made, neighbours(self.workload, schedule, rng, self.only))

    def made(self, schedule: Schedule) -> Schedule:
        """The schedule as one of this space: baselines, from which a search starts, do not steal."""
        return replace(schedule, steal=True) if self.steal else schedule

    def crossed(self, one: Schedule, other: Schedule, rng: random.Random) -> Schedule:
        """A child of both; of one alone where only half of the decisions may change."""
        return cross(self.workload, one, other, rng) if self.only is None else one

    def moved(self, schedule: Schedule, rng: random.Random, moves: int) -> Schedule:
        """The schedule after some random moves; itself where there is no move."""
        for _ in range(moves):
            schedule = next(self.near(schedule, rng), schedule)
        return schedule


@dataclass(frozen=True, slots=True)
class RandomSearch:
    """Independent random schedules: what any other strategy must beat."""

    space: Space

    def propose(self, history: Sequence[Trial], count: int) -> list[Schedule]:
        rng = self.space.rng(history)
        draws = (self.space.sample(rng) for _ in range(_DRAWS * count))
        return untried(draws, {trial.schedule for trial in history}, count)


def untried(draws: Iterable[Schedule], tried: Collection[Schedule], count: int) -> list[Schedule]:
    """The first `count` different schedules of `draws` that are not among `tried`, or as many as there are."""
    found: dict[Schedule, None] = {}
    if count < 1:
        return []
    for schedule in draws:
        if schedule not in tried:
            found[schedule] = None
            if len(found) == count:
                break
    return list(found)


def nearby(space: Space, schedule: Schedule, rng: random.Random, count: int) -> Iterable[Schedule]:
    """Enough single moves away from a schedule to find `count` new ones where there are any."""
    return islice(space.near(schedule, rng), _DRAWS * count)
