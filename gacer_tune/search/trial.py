"""What happened: a schedule and its measurement or its failure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from gacer_tune.ir.schedule import Schedule

FORMAT = 1

FailureKind = Literal["crash", "timeout", "memory", "wrong-output", "illegal", "invalid-time", "busy"]


TAIL = 0.95


@dataclass(frozen=True, slots=True)
class Timing:
    """seconds[i]: the i-th run, until its last tenant was done; tenants_s[t]: median completion time of tenant t.

    completions_s[i][t]: when tenant t was done in run i; empty where only the medians were kept.
    anchors_s[i]: what another schedule, the anchor of the search, took beside run i. All times are then those of a
    machine on which it always takes usual_s. Empty and 0 where a schedule was timed by itself.
    """

    seconds: tuple[float, ...]
    tenants_s: tuple[float, ...]
    completions_s: tuple[tuple[float, ...], ...] = ()
    anchors_s: tuple[float, ...] = ()
    usual_s: float = 0.0

    @staticmethod
    def of_runs(seconds: Sequence[float], completions_s: Sequence[Sequence[float]]) -> Timing:
        """The timing of runs of which every completion is known."""
        medians = tuple(statistics.median(column) for column in zip(*completions_s, strict=True))
        return Timing(tuple(seconds), medians, tuple(map(tuple, completions_s)))

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def raw_s(self) -> tuple[float, ...]:
        """The runs as the clock showed them."""
        if not self.anchors_s:
            return self.seconds
        return tuple(run * beside / self.usual_s for run, beside in zip(self.seconds, self.anchors_s, strict=True))

    @property
    def tails_s(self) -> tuple[float, ...]:
        """95th percentile of each tenant's completion, between runs in proportion; medians where runs are unknown."""
        if not self.completions_s:
            return self.tenants_s
        return tuple(_quantile(sorted(column), TAIL) for column in zip(*self.completions_s, strict=True))

    @property
    def spread(self) -> float:
        """Interquartile range as a share of the median; 0 for a single run."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median_s


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a schedule has no time. `message` is the first cause in one line."""

    kind: FailureKind
    message: str


Result = Timing | Failure


@dataclass(frozen=True, slots=True)
class Trial:
    """One schedule that was tried. `origin`: the baseline or strategy that proposed it; `number` counts from 0.

    at_s: seconds since the search began, when the result was there.
    """

    schedule: Schedule
    result: Result
    origin: str
    number: int
    at_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "schedule": self.schedule.to_json(),
            "origin": self.origin,
            "number": self.number,
            "at_s": self.at_s,
            **result_json(self.result),
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Trial:
        """Inverse of to_json. Raises ValueError for another format, KeyError or TypeError for what is no trial."""
        if data.get("format") != FORMAT:
            raise ValueError(f"trial format {data.get('format')!r}: this version reads {FORMAT}")
        schedule = Schedule.from_json(data["schedule"])
        return Trial(schedule, result_from_json(data), str(data["origin"]), int(data["number"]), float(data["at_s"]))


def result_json(result: Result) -> dict[str, Any]:
    """`{"timing": {...}}` or `{"failure": {...}}`."""
    if isinstance(result, Failure):
        return {"failure": {"kind": result.kind, "message": result.message}}
    timing = {"seconds": list(result.seconds), "tenants_s": list(result.tenants_s)}
    completions = {"completions_s": [list(row) for row in result.completions_s]} if result.completions_s else {}
    anchors = {"anchors_s": list(result.anchors_s), "usual_s": result.usual_s} if result.anchors_s else {}
    return {"timing": {**timing, **completions, **anchors}}


def result_from_json(data: dict[str, Any]) -> Result:
    """Inverse of result_json; times that cannot be are a Failure. Raises ValueError for an unknown kind of failure."""
    if "timing" in data:
        timing = data["timing"]
        seconds, tenants_s = tuple(map(float, timing["seconds"])), tuple(map(float, timing["tenants_s"]))
        completions = tuple(tuple(map(float, row)) for row in timing.get("completions_s", ()))
        anchors_s = tuple(map(float, timing.get("anchors_s", ())))
        return checked(Timing(seconds, tenants_s, completions, anchors_s, float(timing.get("usual_s", 0.0))))
    kind = data["failure"]["kind"]
    if kind not in get_args(FailureKind):
        raise ValueError(f"failure {kind!r}: one of {', '.join(get_args(FailureKind))}")
    return Failure(kind, str(data["failure"]["message"]))


def checked(result: Result) -> Result:
    """The result itself; the failure `invalid-time` for a timing with a zero, negative, infinite or NaN among its runs.

    A tenant may be done at 0: one without kernels is. Completions must be those of every tenant in every run, or none.
    """
    if isinstance(result, Failure):
        return result
    if not result.seconds:
        return Failure("invalid-time", "no run was timed")
    for seconds in result.seconds:
        if not (math.isfinite(seconds) and seconds > 0):
            return Failure("invalid-time", f"a run of {seconds} s, a finite number above 0")
    if result.anchors_s and not _anchors_fit(result):
        return Failure("invalid-time", "anchors: not one finite number above 0 for each run")
    for row in (result.tenants_s, *result.completions_s):
        for tenant, seconds in enumerate(row):
            if not (math.isfinite(seconds) and seconds >= 0):
                return Failure("invalid-time", f"tenant {tenant} done at {seconds} s, a finite number not below 0")
    if result.completions_s and [len(result.tenants_s)] * len(result.seconds) != [*map(len, result.completions_s)]:
        return Failure("invalid-time", f"completions of {len(result.completions_s)} of {len(result.seconds)} runs")
    return result


def _anchors_fit(timing: Timing) -> bool:
    times = (*timing.anchors_s, timing.usual_s)
    return len(times) == len(timing.seconds) + 1 and all(math.isfinite(s) and s > 0 for s in times)


def merged(one: Timing, other: Timing) -> Timing:
    """Two measurements of one schedule as one, all runs in order; both beside the same anchor, or neither.

    Where the completions of one are unknown, the tenants' times are averaged by the number of runs behind them.
    """
    if one.completions_s and other.completions_s:
        both = Timing.of_runs(one.seconds + other.seconds, one.completions_s + other.completions_s)
        return replace(both, anchors_s=one.anchors_s + other.anchors_s, usual_s=one.usual_s)
    n, m = len(one.seconds), len(other.seconds)
    tenants_s = tuple((n * a + m * b) / (n + m) for a, b in zip(one.tenants_s, other.tenants_s, strict=True))
    return Timing(one.seconds + other.seconds, tenants_s)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Between neighbours in proportion, (1, 2, 3) at 0.75 -> 2.5."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
