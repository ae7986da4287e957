"""Of what is predicted alike, the plan that the models disagree about most is measured too."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.search.evolve import Evolve
from gacer_tune.search.objective import Objective
from gacer_tune.search.ranking import Forecast, Ranker
from gacer_tune.search.seeds import baselines
from gacer_tune.search.strategy import Space
from gacer_tune.search.trial import Trial
from tests.support.workloads import chain, random_profile

MIX = Workload(tuple(chain(f"t{t}", (4, 2, 8, 3), variants=2) for t in range(3)))
PROFILE = random_profile(random.Random(3), MIX, contention=0.2)


class Unsure(Ranker):
    """The real forecasts, but all models agree about all plans except the one in the middle of the better half."""

    doubtful: Schedule | None = None

    def rank(self, schedules: Sequence[Schedule], history: Sequence[Trial]) -> list[Forecast]:
        forecasts = super().rank(schedules, history)
        self.doubtful = forecasts[len(forecasts) // 4].schedule
        return [f._replace(spread=0.5 if f.schedule == self.doubtful else 0.1) for f in forecasts]


def test_the_plan_that_the_models_disagree_about_is_proposed() -> None:
    starts = tuple(baselines(MIX, PROFILE, 2).values())
    for seed in range(5):
        ranker = Unsure(MIX, PROFILE, Objective(MIX), seed)
        proposed = Evolve(Space(MIX, 2, starts, seed), ranker, ()).propose([], 8)
        assert ranker.doubtful is not None
        assert ranker.doubtful in proposed
        assert len(proposed) == 8
