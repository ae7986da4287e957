"""Measuring schedules that were measured before once more, so that they can be compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.device import Device
from gacer_tune.search.trial import Failure, Result, Timing, checked, merged

PASSES, RUNS = 4, 3  # runs of each schedule in each pass
PAIRS, FEWEST_PAIRS = 30, 10  # of the last word
_LOOK_S, _WORD_S = 1.0, 4.0  # that all passes over one schedule, and all pairs, may take
_LOOK, _WORD = 0.02, 0.1  # or these shares of the budget, if that is more


@dataclass(frozen=True, slots=True)
class Effort:
    """passes: over each schedule that is measured afresh; pairs: of the last word."""

    passes: int = PASSES
    pairs: int = PAIRS


def affordable(run_s: float, budget_s: float) -> Effort:
    """As much as there is, but where runs take so long that measuring again would take longer than the search."""
    pair_s = 2 * run_s  # beside the anchor a run takes as long as a pair, too
    passes, pairs = max(_LOOK_S, _LOOK * budget_s) / (RUNS * pair_s), max(_WORD_S, _WORD * budget_s) / pair_s
    return Effort(max(1, min(PASSES, int(passes))), max(FEWEST_PAIRS, min(PAIRS, int(pairs))))


def afresh(device: Device, schedules: Sequence[Schedule], passes: int = PASSES, runs: int = RUNS) -> list[Result]:
    """Results of this moment, of each schedule until it fails: a lucky measurement is seldom lucky twice.

    In turn, a few runs each, in an order that is drawn: what comes first or last is not at an advantage.
    """
    results: dict[int, Result] = {}
    for number in range(passes):
        order = range(len(schedules))
        for index in random.Random(number).sample(order, len(schedules)) if number else order:
            before = results.get(index)
            if not isinstance(before, Failure):
                more = checked(device.measure(schedules[index], runs))
                results[index] = merged(before, more) if before and isinstance(more, Timing) else more
    return [results[index] for index in range(len(schedules))]
