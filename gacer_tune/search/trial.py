"""What happened: a schedule and its measurement or its failure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gacer_tune.ir.schedule import Schedule

FORMAT = 1

FailureKind = Literal["crash", "timeout", "memory", "wrong-output", "illegal", "invalid-time"]


@dataclass(frozen=True, slots=True)
class Timing:
    """seconds[i]: the i-th run, until its last tenant was done; tenants_s[t]: median completion time of tenant t."""

    seconds: tuple[float, ...]
    tenants_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

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
    return {"timing": {"seconds": list(result.seconds), "tenants_s": list(result.tenants_s)}}


def result_from_json(data: dict[str, Any]) -> Result:
    """Inverse of result_json; times that cannot be are a Failure. Raises ValueError for an unknown kind of failure."""
    if "timing" in data:
        timing = data["timing"]
        return checked(Timing(tuple(map(float, timing["seconds"])), tuple(map(float, timing["tenants_s"]))))
    kind = data["failure"]["kind"]
    if kind not in get_args(FailureKind):
        raise ValueError(f"failure {kind!r}: one of {', '.join(get_args(FailureKind))}")
    return Failure(kind, str(data["failure"]["message"]))


def checked(result: Result) -> Result:
    """The result itself; the failure `invalid-time` for a timing with a zero, negative, infinite or NaN among its runs.

    A tenant may be done at 0: one without kernels is.
    """
    if isinstance(result, Failure):
        return result
    if not result.seconds:
        return Failure("invalid-time", "no run was timed")
    for seconds in result.seconds:
        if not (math.isfinite(seconds) and seconds > 0):
            return Failure("invalid-time", f"a run of {seconds} s, a finite number above 0")
    for tenant, seconds in enumerate(result.tenants_s):
        if not (math.isfinite(seconds) and seconds >= 0):
            return Failure("invalid-time", f"tenant {tenant} done at {seconds} s, a finite number not below 0")
    return result


def merged(one: Timing, other: Timing) -> Timing:
    """Two measurements of one schedule as one: all runs; tenants' times averaged by the number of runs behind them."""
    n, m = len(one.seconds), len(other.seconds)
    tenants_s = tuple((n * a + m * b) / (n + m) for a, b in zip(one.tenants_s, other.tenants_s, strict=True))
    return Timing(one.seconds + other.seconds, tenants_s)
