"""The last word: does the best schedule found really beat every baseline? If in doubt, the baseline it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.stats import binom, wilcoxon

from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.afresh import Effort, afresh
from gacer_tune.search.anchored import Anchored
from gacer_tune.search.device import Device, Pairs
from gacer_tune.search.duel import Duel, Surroundings
from gacer_tune.search.objective import Objective, leaders, ranked
from gacer_tune.search.seeds import BASELINES
from gacer_tune.search.trial import Failure, Timing, Trial

SIGNIFICANCE = 0.05
CONFIDENCE = 0.95
FINALISTS = 5
NEAR = 1.2  # times as slow as the best baseline, measured afresh: one that takes longer is not the best one
MIN_PAIRS = 5  # fewer cannot reach the significance: 1 / 2^5 < 0.05 < 1 / 2^4
_ALL, _ALONE = Effort(), Surroundings()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the search hands back, and why.

    schedule, origin   the winner where it is `accepted`, else the best baseline
    speedup            median over the pairs of baseline / winner, also where it was not accepted; 1 without pairs
    p_value            one-sided Wilcoxon signed-rank; 1 without pairs
    baseline_s, best_s medians of the objective over the pairs; without pairs both are the baseline's fresh measurement
    interval_s         where the median of the faster one lies, with 95 % confidence; without pairs its one value twice
    baseline           name of the best baseline
    reason             why, in words
    refused            why nothing could be judged, in words; empty where the pairs decided
    """

    schedule: Schedule
    origin: str
    accepted: bool
    speedup: float
    p_value: float
    baseline_s: float
    best_s: float
    baseline: str
    reason: str
    interval_s: tuple[float, float] = (0.0, 0.0)
    refused: str = ""

    @property
    def written_s(self) -> float:
        """Of the schedule that is handed back."""
        return self.best_s if self.accepted else self.baseline_s


def finalists(trials: Sequence[Trial], objective: Objective, count: int = FINALISTS) -> list[Trial]:
    """The best trials that are no baselines, one for each schedule: of each state of the machine, then of all."""
    return _distinct(leaders([trial for trial in trials if trial.origin not in BASELINES], objective))[:count]


def _distinct(trials: Sequence[Trial]) -> list[Trial]:
    """The first trial of each schedule; the baselines of a single tenant are all the same one."""
    found: dict[Schedule, Trial] = {}
    for trial in trials:
        found.setdefault(trial.schedule, trial)
    return list(found.values())


def accept(
    device: Device,
    objective: Objective,
    candidates: Sequence[Trial],
    baselines: Sequence[Trial],
    effort: Effort = _ALL,
    around: Surroundings = _ALONE,
) -> Outcome:
    """Measure candidates and baselines afresh, then the best candidate against each baseline that may be the best one,
    in interleaved pairs.

    The candidate is accepted when it is faster than each in the median and the test says that it is no chance (the
    largest p of all is that of the claim: an intersection-union test); what is told are the pairs with the smallest
    gain. Any failure on the way, also of a comparison, leaves a baseline. So does a machine that something else keeps
    busy. Raises UserError when no baseline runs: then nothing is known to be right.
    """
    if effort.pairs < MIN_PAIRS:
        raise UserError(f"pairs {effort.pairs}: at least {MIN_PAIRS}, fewer prove nothing")
    anchored = Anchored(device, around.anchor, around.pause)
    fresh = _fresh(anchored, _distinct(baselines), effort.passes)
    standing = ranked(fresh, objective)
    if not standing:
        raise UserError(f"no baseline runs: {_first_cause(fresh)}")
    known = {trial.schedule for trial in baselines}
    others = _fresh(anchored, [trial for trial in candidates if trial.schedule not in known], effort.passes)
    if not (running := ranked(others, objective)):
        return _stay(*standing[0], _first_cause(others) if others else "no other schedule was found")
    said: list[Outcome] = []
    for value, baseline in standing:
        if value <= NEAR * standing[0][0] and all(outcome.accepted for outcome in said):
            duel = Duel(anchored, objective, (baseline.schedule, running[0][1].schedule), _seconds(baseline), around)
            said.append(_judge((value, baseline), running[0][1], duel.fight(effort.pairs)))
    return min(said, key=lambda outcome: (outcome.accepted, outcome.speedup))


def _judge(standing: tuple[float, Trial], winner: Trial, pairs: Pairs | Failure) -> Outcome:
    value, baseline = standing
    if isinstance(pairs, Failure):
        stays = _stay(value, baseline, f"the comparison failed: {pairs.kind}: {pairs.message}")
        return replace(stays, refused=pairs.message) if pairs.kind == "busy" else stays
    speedup = statistics.median(base / best for base, best in pairs)
    p_value = p_faster(pairs)
    accepted = speedup > 1 and p_value < SIGNIFICANCE
    chosen = winner if accepted else baseline
    return Outcome(
        schedule=chosen.schedule,
        origin=chosen.origin,
        accepted=accepted,
        speedup=speedup,
        p_value=p_value,
        baseline_s=statistics.median(base for base, _ in pairs),
        best_s=statistics.median(best for _, best in pairs),
        baseline=baseline.origin,
        reason=f"{winner.origin} against {baseline.origin}: {speedup:.3f} times as fast, p = {p_value:.2g}",
        interval_s=interval([best if accepted else base for base, best in pairs]),
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % confidence interval of the median, from order statistics: nothing is assumed of the distribution."""
    ordered, count = sorted(values), len(values)
    low = max(int(binom.ppf((1 - CONFIDENCE) / 2, count, 0.5)) - 1, 0)
    return ordered[low], ordered[count - 1 - low]


def p_faster(pairs: Pairs) -> float:
    """How likely the second of each pair would look at least this much faster by chance (one-sided Wilcoxon).

    On logarithms, so that a drift of the machine weighs slow and fast pairs alike.
    """
    logs = [math.log(base / best) for base, best in pairs]
    if not any(logs):
        return 1.0
    return float(wilcoxon(logs, alternative="greater").pvalue)


def _seconds(trial: Trial) -> float:
    assert isinstance(trial.result, Timing)
    return trial.result.median_s


def _stay(value: float, baseline: Trial, reason: str) -> Outcome:
    both = (value, value)
    return Outcome(baseline.schedule, baseline.origin, False, 1.0, 1.0, value, value, baseline.origin, reason, both)


def _fresh(device: Device, trials: Sequence[Trial], passes: int) -> list[Trial]:
    results = afresh(device, [trial.schedule for trial in trials], passes)
    return [replace(trial, result=result) for trial, result in zip(trials, results, strict=True)]


def _first_cause(trials: Sequence[Trial]) -> str:
    causes = [f"{t.origin}: {t.result.kind}: {t.result.message}" for t in trials if isinstance(t.result, Failure)]
    return causes[0] if causes else "none was given"
