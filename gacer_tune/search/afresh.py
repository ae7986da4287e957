"""Measuring schedules that were measured before once more, so that they can be compared."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.device import Device
from gacer_tune.search.trial import Failure, Result, Timing, checked, merged

PASSES, RUNS = 4, 3  # runs of each schedule in each pass


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
