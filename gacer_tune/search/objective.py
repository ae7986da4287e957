"""What "faster" means: one number of seconds for a measured or predicted run, lower is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Tenant, Workload
from gacer_tune.search.trial import Timing, Trial

ObjectiveName = Literal["makespan", "throughput", "slo", "fairness"]

_SLO_PENALTY = 10.0


@dataclass(frozen=True, slots=True)
class Objective:
    """makespan    when the last tenant is done
    throughput  harmonic mean of the tenants' completion times by weight x batch: its inverse is the weighted rate
    slo         makespan, times 1 + 10 x the sum over tenants of the share by which their 95th percentile misses slo_s
    fairness    largest slow-down of a tenant, its completion over alone_s[t], the time it takes alone on all lanes;
                times the mean of alone_s, so that it is in seconds like the others

    Raises UserError for an unknown name, and for slo where no tenant has one; ValueError for fairness without alone_s.
    """

    workload: Workload
    name: ObjectiveName = "makespan"
    alone_s: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in get_args(ObjectiveName):
            raise UserError(f"objective {self.name!r}: one of {', '.join(get_args(ObjectiveName))}")
        if self.name == "slo" and not any(tenant.slo_s > 0 for tenant in self.workload.tenants):
            raise UserError("objective slo: no tenant has an slo, at least one must")
        if self.name == "fairness" and len(self.alone_s) != len(self.workload.tenants):
            raise ValueError(f"objective fairness: {len(self.alone_s)} times alone, one for each tenant")

    def value(self, makespan_s: float, tenants_s: Sequence[float]) -> float:
        """Seconds of a run that takes `makespan_s` and whose tenant t is done at tenants_s[t]."""
        if self.name == "makespan":
            return makespan_s
        if self.name == "fairness":
            return slow_down(tenants_s, self.alone_s) * sum(self.alone_s) / len(self.alone_s)
        pairs = list(zip(self.workload.tenants, tenants_s, strict=True))
        return _harmonic_s(pairs) if self.name == "throughput" else makespan_s * (1 + _SLO_PENALTY * _excess(pairs))

    def of(self, timing: Timing) -> float:
        """Value of a measurement: an slo is held against the tail, everything else is about medians."""
        return self.value(timing.median_s, timing.tails_s if self.name == "slo" else timing.tenants_s)


def slow_down(tenants_s: Sequence[float], alone_s: Sequence[float]) -> float:
    """The largest ratio of a tenant's completion to its time alone; tenants that take no time do not count."""
    return max((done / alone for done, alone in zip(tenants_s, alone_s, strict=True) if alone > 0), default=1.0)


def ranked(trials: Iterable[Trial], objective: Objective) -> list[tuple[float, Trial]]:
    """(value, trial) of all that did not fail, best first, the earlier of equals first."""
    good = [(objective.of(trial.result), trial) for trial in trials if isinstance(trial.result, Timing)]
    return sorted(good, key=lambda pair: pair[0])


def leaders(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """All that did not fail, best first; but before the others the best of each state of the machine, by its `usual_s`.

    What led in one state is not forgotten where others look better in another: the machine may go back.
    """
    order = [trial for _, trial in ranked(trials, objective)]
    first: dict[float, Trial] = {}
    for trial in order:
        if isinstance(trial.result, Timing) and trial.result.anchors_s:
            first.setdefault(trial.result.usual_s, trial)
    if len(first) < 2:
        return order
    taken = {trial.number for trial in first.values()}
    return [*first.values(), *(trial for trial in order if trial.number not in taken)]


def best_so_far(trials: Sequence[Trial], objective: Objective) -> list[tuple[Trial, float]]:
    """Each trial with the best value until then, from the first trial that did not fail; never rises."""
    curve: list[tuple[Trial, float]] = []
    best = inf
    for trial in trials:
        if isinstance(trial.result, Timing):
            best = min(best, objective.of(trial.result))
        if best < inf:
            curve.append((trial, best))
    return curve


def _harmonic_s(pairs: Sequence[tuple[Tenant, float]]) -> float:
    shares = [(tenant.weight * tenant.batch, seconds) for tenant, seconds in pairs if seconds > 0]
    total: float = sum(share for share, _ in shares)
    rate: float = sum(share / seconds for share, seconds in shares)
    return total / rate if rate else 0.0


def _excess(pairs: Sequence[tuple[Tenant, float]]) -> float:
    return sum(max(0.0, float(seconds / tenant.slo_s - 1)) for tenant, seconds in pairs if tenant.slo_s > 0)
