"""A search begins with what earlier ones on this machine have learned, and leaves what it has learned itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gacer_tune.cost_model.model import MIN_SAMPLES, CostModel
from gacer_tune.learning.memory import memory_here
from gacer_tune.learning.samples import chosen, samples_of
from gacer_tune.preparing import Prepared
from gacer_tune.search.trial import Trial

MOST_PLANS = 300  # of one search: more teach little, and each takes milliseconds to be simulated


@dataclass(frozen=True, slots=True)
class Learned:
    """model: of earlier searches, None where there is none; sources: the workloads that it learned from."""

    model: CostModel | None = None
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`what 214 plans of resnet18+bert_small have taught`; nothing without a model."""
        if self.model is None:
            return ""
        return f"what {self.model.samples} plans of {', '.join(self.sources)} have taught"


def learned_before(prepared: Prepared) -> Learned:
    """What earlier searches have left. On CPUs only."""
    if prepared.workload.target != "cpu":
        return Learned()
    memory = memory_here(prepared.cache, len(prepared.cpus))
    return Learned(memory.model(), tuple(group.name for group in memory.samples()))


def keep_learned(prepared: Prepared, trials: Sequence[Trial]) -> None:
    """Remember the trials of a search that is over, unless there are too few to learn from."""
    if prepared.workload.target != "cpu":
        return
    samples = samples_of(prepared.workload, prepared.profile, chosen(trials, MOST_PLANS))
    if len(samples) >= MIN_SAMPLES:
        memory_here(prepared.cache, len(prepared.cpus)).keep(samples)
