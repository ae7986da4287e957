"""Interleaved pairs of two artifacts, and whether the second one is slower than noise explains."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gacer_tune.errors import UserError
from gacer_tune.search.acceptance import MIN_PAIRS, SIGNIFICANCE, p_faster
from gacer_tune.search.device import Pairs
from gacer_tune.search.objective import Objective

THRESHOLD = 0.05
TOGETHER = "together"

Verdict = Literal["slower", "faster", "same", "unclear"]


@dataclass(frozen=True, slots=True)
class Run:
    """One artifact once: seconds of the whole run, and until each tenant was done."""

    seconds: float
    tenants_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds of both artifacts for one tenant, for all together, or for the objective.

    ratio               median over the pairs of new / baseline: above 1 is slower
    low, high           middle half of these ratios
    p_slower, p_faster  how likely chance alone would make the new one look this much slower, or faster (one-sided
                        Wilcoxon signed-rank)
    decides             whether a regression of this row is one of the artifact
    """

    name: str
    baseline_s: float
    seconds: float
    ratio: float
    low: float
    high: float
    p_slower: float
    p_faster: float
    verdict: Verdict
    decides: bool

    @property
    def regressed(self) -> bool:
        return self.decides and self.verdict == "slower"


def require_pairs(pairs: int) -> None:
    if pairs < MIN_PAIRS:
        raise UserError(f"--pairs {pairs}: at least {MIN_PAIRS}, fewer prove nothing")


def rows(
    pairs: Sequence[tuple[Run, Run]], names: Sequence[str], objective: Objective, threshold: float
) -> tuple[Row, ...]:
    """A row for each tenant that takes time, in the order of `names`, one for all together, and one for an objective
    other than the makespan. The objective's row is the one that decides.
    """
    columns: dict[str, Pairs] = {
        name: tuple((one.tenants_s[t], other.tenants_s[t]) for one, other in pairs) for t, name in enumerate(names)
    }
    columns = {name: column for name, column in columns.items() if all(min(pair) > 0 for pair in column)}
    found = [_row(name, column, threshold, False) for name, column in columns.items()]
    together = tuple((one.seconds, other.seconds) for one, other in pairs)
    found.append(_row(TOGETHER, together, threshold, objective.name == "makespan"))
    if objective.name != "makespan":
        values = tuple((_value(one, objective), _value(other, objective)) for one, other in pairs)
        found.append(_row(f"objective: {objective.name}", values, threshold, True))
    return tuple(found)


def _value(run: Run, objective: Objective) -> float:
    return objective.value(run.seconds, run.tenants_s)


def _row(name: str, pairs: Pairs, threshold: float, decides: bool) -> Row:
    ratios = [after / before for before, after in pairs]
    low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
    p_slower, faster = p_faster(tuple((after, before) for before, after in pairs)), p_faster(pairs)
    return Row(
        name=name,
        baseline_s=statistics.median(before for before, _ in pairs),
        seconds=statistics.median(after for _, after in pairs),
        ratio=ratio,
        low=low,
        high=high,
        p_slower=p_slower,
        p_faster=faster,
        verdict=_verdict(ratio, p_slower, faster, threshold),
        decides=decides,
    )


def _verdict(ratio: float, p_slower: float, faster: float, threshold: float) -> Verdict:
    """Outside the band of noise and no chance, or not; the band is as wide downwards: 1.05 and 1 / 1.05."""
    if 1 / (1 + threshold) <= ratio <= 1 + threshold:
        return "same"
    if ratio > 1:
        return "slower" if p_slower < SIGNIFICANCE else "unclear"
    return "faster" if faster < SIGNIFICANCE else "unclear"
