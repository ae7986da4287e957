"""How well measured times were predicted: by the timeline alone, and by what was learned on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.quality import pairwise_accuracy
from gacer_tune.ir.verify import IllegalScheduleError, verify
from gacer_tune.ir.workload import Workload
from gacer_tune.search.objective import Objective
from gacer_tune.search.ranking import Ranker
from gacer_tune.search.trial import Timing, Trial

MOST = 200  # trials that are looked at, each a simulation of some milliseconds

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Predictions:
    """(predicted, measured) seconds of trials, and the share of their pairs that the predictions order rightly."""

    points: tuple[Point, ...] = ()
    accuracy: float = 1.0


def predictions(
    workload: Workload, profile: Profile, trials: Sequence[Trial], objective: Objective
) -> tuple[Predictions, Predictions]:
    """Of the timeline, and of the cost model for every second trial when it has learned from the others.

    Trials of another workload, kept in the log by an earlier run, are passed over.
    """
    fitting = [trial for trial in trials if isinstance(trial.result, Timing) and _fits(workload, trial)]
    step = -(-len(fitting) // MOST) or 1
    some = fitting[::step]
    ranker = Ranker(workload, profile, objective)
    return _of(ranker, some, ()), _of(ranker, some[1::2], some[::2])


def _of(ranker: Ranker, trials: Sequence[Trial], learned: Sequence[Trial]) -> Predictions:
    said = {forecast.schedule: forecast.value for forecast in ranker.rank([t.schedule for t in trials], learned)}
    points = [
        (said[trial.schedule], ranker.objective.of(trial.result))
        for trial in trials
        if isinstance(trial.result, Timing)
    ]
    if not points:
        return Predictions()
    predicted, measured = np.array(points).T
    return Predictions(tuple(points), pairwise_accuracy(predicted, measured))


def _fits(workload: Workload, trial: Trial) -> bool:
    try:
        verify(workload, trial.schedule)
    except IllegalScheduleError:
        return False
    return True
