"""Evolutionary search led by the cost model (the default).

Each round breeds many candidates from the best measured schedules, for some generations on predictions alone, and
proposes the few most promising ones and one about which the models disagree most.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.objective import leaders
from gacer_tune.search.ranking import Forecast, Ranker
from gacer_tune.search.strategy import Space, untried
from gacer_tune.search.trial import Trial

_PARENTS = 12
_GENERATIONS = 3
_BROOD = 40  # candidates bred in each generation, as long as they are small: see _brood
_SLICES = 2500  # of all candidates of a generation
_DRAWS = 4  # draws for each candidate before a small space counts as used up


@dataclass(frozen=True, slots=True)
class Evolve:
    """`seeds` are candidates of every round until they are tried."""

    space: Space
    ranker: Ranker
    seeds: tuple[Schedule, ...]

    def propose(self, history: Sequence[Trial], count: int) -> list[Schedule]:
        rng = self.space.rng(history)
        tried = {trial.schedule for trial in history}
        measured = [trial.schedule for trial in leaders(history, self.ranker.objective)[:_PARENTS]]
        parents = measured or list(self.space.starts)
        pool = dict.fromkeys(untried(self.seeds, tried, len(self.seeds)))
        brood = _brood(self.space)
        for _ in range(_GENERATIONS):
            draws = (self._child(parents, rng) for _ in range(brood * _DRAWS))
            pool |= dict.fromkeys(untried(draws, tried.union(pool), brood))
            forecasts = self.ranker.rank(list(pool), history)
            promising = [forecast.schedule for forecast in forecasts[:_PARENTS]]
            parents = [*measured[: _PARENTS // 2], *promising] or parents
        return _chosen(forecasts, count, rng)

    def _child(self, parents: Sequence[Schedule], rng: random.Random) -> Schedule:
        """A mutation (mostly), a crossing or an immigrant; better parents have more children."""
        fate = rng.random()
        if fate < 0.1:
            return self.space.sample(rng)
        parent = _favoured(parents, rng)
        if fate < 0.3:
            parent = self.space.crossed(parent, _favoured(parents, rng), rng)
        return self.space.moved(parent, rng, rng.choice((1, 1, 1, 2, 2, 3, 5)))


def _brood(space: Space) -> int:
    """Fewer candidates of a larger workload, so that to think about a round takes less time than to measure it."""
    slices = space.lanes * sum(len(tenant.kernels) for tenant in space.workload.tenants)
    return max(_BROOD // 3, min(_BROOD, _SLICES // max(slices, 1)))


def _favoured(parents: Sequence[Schedule], rng: random.Random) -> Schedule:
    return parents[min(rng.randrange(len(parents)), rng.randrange(len(parents)))]


def _chosen(forecasts: Sequence[Forecast], count: int, rng: random.Random) -> list[Schedule]:
    """The best of each predicted value, and last the one that the models know least about.

    Equal predictions are mostly one behaviour written in several ways: measuring it once is enough. Of shares of a GPU
    nothing is predicted, so those that differ are not equal.
    """
    best: dict[tuple[str, tuple[int, ...]], Forecast] = {}
    for forecast in forecasts:
        best.setdefault((f"{forecast.value:.6g}", forecast.schedule.shares), forecast)
    first = {id(forecast) for forecast in best.values()}
    order = list(best.values()) + [forecast for forecast in forecasts if id(forecast) not in first]
    taken, rest = order[: max(count - 1, 1)], order[max(count - 1, 1) :]
    if rest and len(taken) < count:
        rest = rest[: len(rest) // 2 + 1]  # what is predicted to be hopeless teaches nothing about the best
        most = max(forecast.spread for forecast in rest)
        taken.append(rng.choice([forecast for forecast in rest if forecast.spread == most]))
    return [forecast.schedule for forecast in taken]
