"""Measuring beside an anchor: a machine drifts by more than schedules differ, so what counts is the ratio to a schedule
that is timed in the same moment. Moments in which the anchor itself is slow are waited out: what else runs there takes
cores from some schedules and none from others.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.device import Device, Pairs
from gacer_tune.search.seeds import BASELINES
from gacer_tune.search.trial import Failure, Timing, Trial, checked

CALM = 1.25  # the anchor takes at most so many times what it takes in quiet moments
PAUSES_S = (0.0, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5, 4.0)  # before each further attempt to find a calm moment
PATIENCE_S = 3.0  # all pauses together take no longer than this and half of what was measured
MOST_PAIRS = 6  # at once; they say more than as many runs
_LOST = 3.0  # more than machines drift: a run this many times slower than what is hopeless needs no anchor
_WINDOW = 50  # measurements that tell what is quiet now
_QUIET = 0.2  # the share of them that is

Pause = Callable[[float], None]


def wait(seconds: float) -> None:
    time.sleep(seconds)


class Anchored:
    """A device whose times are those that a machine of steady speed would show: of each run the ratio to the anchor's
    run beside it, times what the anchor took when it was first measured.

    The anchor is the first schedule that is measured, or the one of `anchor`, with the seconds that are usual for it.
    """

    def __init__(self, device: Device, anchor: tuple[Schedule, float] | None = None, pause: Pause = wait) -> None:
        self.device, self._anchor, self._pause = device, anchor, pause
        self._levels: deque[float] = deque(maxlen=_WINDOW)
        self._patience_s = PATIENCE_S

    @property
    def lanes(self) -> int:
        return self.device.lanes

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        """One run for the outputs and for who is done when, then `repeats` pairs, MOST_PAIRS at most.

        One pair if that run is slower than give_up_s, and none, but the last anchor, if it is much slower.
        """
        if self._anchor is None:
            return self._first(schedule, repeats)
        look = checked(self.device.measure(schedule, 1))
        if isinstance(look, Failure):
            return look
        limit_s = give_up_s * self._level_s / self._anchor[1]
        if look.median_s > _LOST * limit_s:
            return in_step(look, ((self._level_s, look.median_s),), self._anchor[1])
        if look.median_s > limit_s:
            timing = self._beside(look, schedule, 1)
            if isinstance(timing, Failure) or timing.median_s > give_up_s:
                return timing
        return self._beside(look, schedule, min(repeats, MOST_PAIRS))

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        return self.device.compare(a, b, pairs)

    def close(self) -> None:
        self.device.close()

    def _first(self, schedule: Schedule, repeats: int) -> Timing | Failure:
        timing = checked(self.device.measure(schedule, repeats))
        if isinstance(timing, Timing):
            self._anchor = schedule, timing.median_s
        return timing

    @property
    def _level_s(self) -> float:
        """What the anchor took last."""
        assert self._anchor is not None
        return self._levels[-1] if self._levels else self._anchor[1]

    def _beside(self, look: Timing, schedule: Schedule, count: int) -> Timing | Failure:
        assert self._anchor is not None
        pairs = self._calm_pairs(self._anchor[0], schedule, count)
        return pairs if isinstance(pairs, Failure) else in_step(look, pairs, self._anchor[1])

    def _calm_pairs(self, anchor: Schedule, schedule: Schedule, count: int) -> Pairs | Failure:
        """Pairs of a calm moment. If none comes for long, this is how fast the machine is from now on."""
        pairs = self._pairs(anchor, schedule, count)
        for pause_s in PAUSES_S:
            if isinstance(pairs, Failure) or self._calm(pairs) or self._patience_s < pause_s:
                break
            self._pause(pause_s)
            self._patience_s -= pause_s
            pairs = self._pairs(anchor, schedule, count)
        else:
            self._levels.clear()
        if not isinstance(pairs, Failure):
            self._levels.append(_level(pairs))
        return pairs

    def _pairs(self, anchor: Schedule, schedule: Schedule, count: int) -> Pairs | Failure:
        pairs = checked_pairs(self.device.compare(anchor, schedule, count))
        if not isinstance(pairs, Failure):
            self._patience_s += sum(map(sum, pairs)) / 2
        return pairs

    def _calm(self, pairs: Pairs) -> bool:
        level = _level(pairs)
        return level <= CALM * quiet(self._levels, level)


def _level(pairs: Pairs) -> float:
    return statistics.median(beside for beside, _ in pairs)


def in_step(look: Timing, pairs: Pairs, usual_s: float) -> Timing:
    """The second schedule of the pairs as if the first, the anchor, had always taken usual_s; `look` is a measurement
    of the second one that tells at which shares of a run its tenants are done."""
    seconds = [run * (usual_s / beside) for beside, run in pairs]
    shares = [done / look.median_s for done in look.tenants_s]
    timing = Timing.of_runs(seconds, [[share * run for share in shares] for run in seconds])
    return Timing(
        timing.seconds, timing.tenants_s, timing.completions_s, tuple(beside for beside, _ in pairs), usual_s
    )  # fmt: skip


def quiet(levels: Iterable[float], otherwise: float) -> float:
    """What the anchor takes in quiet moments, from what it took: a fifth of them were no slower."""
    ordered = sorted(levels)
    return ordered[int(_QUIET * len(ordered))] if ordered else otherwise


def quiet_s(trials: Iterable[Trial]) -> float | None:
    """The same of trials; None where none was anchored."""
    levels = [
        statistics.median(t.result.anchors_s) for t in trials if isinstance(t.result, Timing) and t.result.anchors_s
    ]
    return quiet(levels, 0.0) or None


def anchor_of(history: Sequence[Trial]) -> tuple[Schedule, float] | None:
    """What the trials of a history were, or could be, held against: its first baseline that ran."""
    for trial in history:
        if isinstance(trial.result, Timing) and trial.origin in BASELINES:
            return trial.schedule, trial.result.median_s
    return None


def checked_pairs(pairs: Pairs | Failure) -> Pairs | Failure:
    """The pairs themselves; the failure `invalid-time` where a time cannot be."""
    if isinstance(pairs, Failure):
        return pairs
    valid = checked(Timing(tuple(seconds for pair in pairs for seconds in pair), ()))
    return valid if isinstance(valid, Failure) else pairs
