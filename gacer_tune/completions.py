"""When each tenant is done, measured once more after the search: for the table that users see, and for the front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule
from gacer_tune.preparing import Prepared
from gacer_tune.report.verdict import Choice, Gain
from gacer_tune.search.afresh import PASSES, RUNS, afresh
from gacer_tune.search.device import Device
from gacer_tune.search.front import MOST, chosen, front
from gacer_tune.search.seeds import baselines
from gacer_tune.search.trial import Failure, Result, Timing, Trial, checked

TRACES = 5

Trace = list[tuple[int, int, int, float, float]]  # tenant, kernel, lane, begin_s, end_s of every slice


class Tracing(Protocol):
    """A device that can tell when each slice of a run began and ended."""

    def trace(self, schedule: Schedule) -> Trace: ...


def measure_rows(prepared: Prepared, device: Device, best: Schedule, passes: int = PASSES) -> tuple[Gain, ...]:
    """Measure the baselines and the emitted schedule once more, tenant by tenant."""
    known = baselines(prepared.workload, prepared.profile, device.lanes)
    order = (known["sequential"], known["lane_per_tenant"], best, known["breadth_first"])
    distinct = list(dict.fromkeys(order))  # where a baseline was emitted, it is no faster or slower than itself
    results = zip(distinct, afresh(device, distinct, passes), strict=True)
    again = {schedule: _ran(device, schedule, result) for schedule, result in results}
    timings = [again[schedule] for schedule in order]
    tails = Timing.of_runs(timings[2].seconds, [(s,) for s in timings[2].seconds]).tails_s
    columns = [*map(_completions, timings), iter((*timings[2].tails_s, *tails))]
    names = [*(tenant.name for tenant in prepared.workload.tenants), "together"]
    return tuple(Gain(name, *times) for name, *times in zip(names, *columns, strict=True))


def measure_front(
    device: Device, trials: Sequence[Trial], best: Schedule, passes: int = PASSES
) -> dict[Schedule, Choice]:
    """The points of the trials' front that hold when measured again beside `best`, called front0, front1, ...

    A front of single trials is a collection of lucky runs, so its points are measured afresh, in turn, before they are
    shown. `best` itself is `best` where it is a point.
    """
    schedules = [*(trial.schedule for trial in chosen(front(trials)) if trial.schedule != best), best]
    results = afresh(device, schedules, passes)
    results[-1] = _ran(device, best, results[-1])
    again = [Trial(schedule, result, "front", 0) for schedule, result in zip(schedules, results, strict=True)]
    found: dict[Schedule, Choice] = {}
    for trial in chosen(front(again), MOST + 1):
        assert isinstance(trial.result, Timing)
        name = "best" if trial.schedule == best else f"front{sum(p.name != 'best' for p in found.values())}"
        found[trial.schedule] = Choice(name, trial.result.tenants_s, trial.result.median_s)
    return found


def typical_trace(device: Tracing, schedule: Schedule) -> Trace:
    """The recorded run that took the median time among some: a single one may have been disturbed."""
    runs = [device.trace(schedule) for _ in range(TRACES)]
    return sorted(runs, key=lambda rows: max((row[-1] for row in rows), default=0.0))[TRACES // 2]


def _ran(device: Device, schedule: Schedule, result: Result) -> Timing:
    """What fails once gets another chance: a moment in which the machine stood still must not cost the whole search."""
    if isinstance(result, Failure):
        result = checked(device.measure(schedule, RUNS))
    if isinstance(result, Failure):
        raise UserError(f"a schedule that ran before failed when it was measured again: {result.message}")
    return result


def _completions(timing: Timing) -> Iterator[float]:
    yield from timing.tenants_s
    yield timing.median_s
