"""Measuring beside an anchor: a machine drifts by more than schedules differ, so what counts is the ratio to a schedule
that is timed in the same moment. Moments in which the anchor itself is slow are waited out: what else runs there takes
cores from some schedules and none from others.

A machine may also change for good, as where memory of the other core arrives at half the speed from one minute to the
next. Then schedules differ by other ratios, and none can be judged by a best one that was measured before.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.beside import Anchor, Pairing, taking_turns
from gacer_tune.search.device import Device, Pairs
from gacer_tune.search.objective import Objective, ranked
from gacer_tune.search.trial import Failure, Timing, Trial, checked

CALM = 1.25  # the anchor takes at most so many times what it takes in quiet moments
PAUSES_S = (0.0, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5, 4.0)  # before each further attempt to find a calm moment
PATIENCE_S = 3.0  # to begin with
MOST_PAIRS = 6  # at once; they say more than as many runs
_WINDOW = 50  # measurements that tell what is quiet now
_QUIET = 0.2  # the share of them that is
_STAYS = 5  # measurements, all of them with an anchor beyond what it took before: the machine has changed
_JUMP = 1.05  # by so much at least, and by more than most measurements before differed
_MOST = 0.9  # of them
_SAME = 0.03  # ratios that differ by no more are the same one

Pause = Callable[[float], None]


def wait(seconds: float) -> None:
    time.sleep(seconds)


class Anchored:
    """A device whose times are those that a machine of steady speed would show: of each run the ratio to the anchor's
    run beside it, times what the anchor took when it was first measured.

    The anchor is the first schedule that is measured, or the one of `anchor`, with the seconds that are usual for it.
    patience_s: all pauses together take no longer than this, or than PATIENCE_S, and half of what was measured.
    """

    def __init__(
        self, device: Device, anchor: Anchor | None = None, pause: Pause = wait, patience_s: float = math.inf
    ) -> None:
        self.device, self._anchor, self._pause = device, anchor, pause
        self._levels: deque[float] = deque(maxlen=_WINDOW)
        self._state: deque[float] = deque(maxlen=_WINDOW)  # what the anchor took since the machine last changed
        self._resumed = anchor is not None  # what was measured before may be of another state
        self._bar_s = 0.0  # what the schedule that leads takes, by a measurement that had no part in making it lead
        self._patience_s = min(PATIENCE_S, patience_s)

    @property
    def lanes(self) -> int:
        return self.device.lanes

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        """`repeats` pairs, MOST_PAIRS at most, in a calm moment; fewer where they show that it takes over give_up_s."""
        if self._anchor is None:
            return self._first(schedule, repeats)
        return self._calm(partial(self._beside, self._anchor, schedule, min(repeats, MOST_PAIRS), give_up_s))

    @property
    def changed(self) -> bool:
        """Whether the machine differs, or may differ, from when times were last put in step with it."""
        return self._resumed or jumped(self._state)

    def lead(self, schedule: Schedule) -> None:
        """Measure once more what leads from now on: of many measurements the shortest is a lucky one, and times that
        are put in step with lucky ones shrink from change to change.
        """
        if self._anchor and schedule == self._anchor[0]:
            self._bar_s = self._anchor[1]
        elif isinstance(timing := self.measure(schedule, MOST_PAIRS), Timing):
            self._bar_s = timing.median_s

    def keep_up(self, leading: Sequence[Trial], objective: Objective) -> None:
        """Measure again what leads, the best first: from now on times are such that what is fastest of them takes what
        the best one took, unless it does already, as far as its runs can tell.
        """
        fresh = [replace(trial, result=self.measure(trial.schedule, MOST_PAIRS)) for trial in leading]
        standing = ranked(fresh, objective)
        # Measured again: what made it the fastest may have been luck.
        fastest = self.measure(standing[0][1].schedule, MOST_PAIRS) if standing else None
        self._state.clear()
        self._resumed = False
        best = leading[0].result if leading else None
        if isinstance(fastest, Timing) and self._anchor and isinstance(best, Timing):
            ratio = (self._bar_s or best.median_s) / fastest.median_s
            if abs(ratio - 1) > max(_SAME, fastest.spread):
                self._anchor = self._anchor[0], self._anchor[1] * ratio

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        return self.device.compare(a, b, pairs)

    def close(self) -> None:
        self.device.close()

    def _first(self, schedule: Schedule, repeats: int) -> Timing | Failure:
        timing = checked(self.device.measure(schedule, repeats))
        if isinstance(timing, Timing):
            self._anchor = schedule, timing.median_s
        return timing

    def _calm(self, measure: Callable[[], Timing | Failure]) -> Timing | Failure:
        """Measure in a calm moment. If none comes for long, this is how fast the machine is from now on."""
        timing = measure()
        for pause_s in PAUSES_S:
            if isinstance(timing, Failure) or self._is_calm(timing) or self._patience_s < pause_s:
                break
            self._pause(pause_s)
            self._patience_s -= pause_s
            timing = measure()
        else:
            self._levels.clear()
        if isinstance(timing, Timing):
            self._levels.append(_level(timing))
            self._state.append(_level(timing))
        return timing

    def _beside(self, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float) -> Timing | Failure:
        if isinstance(self.device, Pairing):
            timing = checked(self.device.beside(anchor, schedule, pairs, give_up_s))
        else:
            timing = taking_turns(self.device, anchor, schedule, pairs, give_up_s)
        if isinstance(timing, Timing):
            self._patience_s += (sum(timing.raw_s) + sum(timing.anchors_s)) / 2
        return timing

    def _is_calm(self, timing: Timing) -> bool:
        level = _level(timing)
        return level <= CALM * quiet(self._levels, level)


def _level(timing: Timing) -> float:
    """What the anchor took."""
    return statistics.median(timing.anchors_s)


def quiet(levels: Iterable[float], otherwise: float) -> float:
    """What the anchor takes in quiet moments, from what it took: a fifth of them were no slower."""
    ordered = sorted(levels)
    return ordered[int(_QUIET * len(ordered))] if ordered else otherwise


def jumped(levels: Sequence[float]) -> bool:
    """Whether the last measurements of the anchor are all slower, or all faster, than nearly all before them."""
    before, last = sorted(list(levels)[:-_STAYS]), list(levels)[-_STAYS:]
    if len(before) < _STAYS:
        return False
    beyond = int(_MOST * len(before))
    return min(last) > _JUMP * before[beyond] or max(last) * _JUMP < before[-1 - beyond]


def quiet_s(trials: Iterable[Trial]) -> float | None:
    """The same of trials; None where none was anchored."""
    levels = [_level(t.result) for t in trials if isinstance(t.result, Timing) and t.result.anchors_s]
    return quiet(levels, 0.0) or None


def anchor_of(history: Sequence[Trial]) -> Anchor | None:
    """What the trials of a history were, or could be, held against: the first that was timed by itself."""
    for trial in history:
        if isinstance(trial.result, Timing) and not trial.result.anchors_s:
            return trial.schedule, trial.result.median_s
    return None
