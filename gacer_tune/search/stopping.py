"""When going on is not worth the time: the search has stopped gaining more than the measurements can tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gacer_tune.search.objective import Objective, best_so_far
from gacer_tune.search.trial import Timing, Trial

PATIENCE = 200  # trials before the first look
STRIDE = 8  # trials between two looks
LEAST_NOISE = 0.005  # what two runs of one schedule differ by on the quietest machine


def stalled(trials: Sequence[Trial], objective: Objective) -> str | None:
    """Why the search should stop, or None while it should not.

    The best value falls ever more slowly as trials go on, so the second half of a search is a fair guess of what
    another half would bring. When it gained no more than the noise of the best measurement, as much again will not
    either.
    """
    if len(trials) < PATIENCE or len(trials) % STRIDE:
        return None
    curve = best_so_far(trials, objective)
    half = len(trials) // 2
    earlier = [value for trial, value in curve if trial.number < half]
    if not earlier:
        return None
    best = curve[-1][1]
    gain, noise = earlier[-1] / best - 1, _noise(trials, objective, best)
    if gain > noise:
        return None
    return f"the last {len(trials) - half} trials gained {gain:.1%}, within the noise of {noise:.1%}"


def _noise(trials: Sequence[Trial], objective: Objective, best: float) -> float:
    """Standard error of the best value's median, about, as a share of it: IQR / sqrt(runs)."""
    for trial in trials:
        if isinstance(trial.result, Timing) and objective.of(trial.result) == best:
            return max(LEAST_NOISE, trial.result.spread / math.sqrt(len(trial.result.seconds)))
    return LEAST_NOISE
