"""A search begins with what earlier ones on this machine have learned, and leaves what it has learned itself."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.cost_model.model import MIN_SAMPLES, CostModel
from gacer_tune.learning.memory import memory_here
from gacer_tune.learning.samples import chosen, samples_of
from gacer_tune.preparing import Prepared
from gacer_tune.search.trial import Trial

MOST_PLANS = 300  # of one search: more teach little, and each takes milliseconds to be simulated


def learned_before(prepared: Prepared) -> CostModel | None:
    """The model of earlier searches; None where there is none. On CPUs only."""
    if prepared.workload.target != "cpu":
        return None
    return memory_here(prepared.cache, len(prepared.cpus)).model()


def keep_learned(prepared: Prepared, trials: Sequence[Trial]) -> None:
    """Remember the trials of a search that is over, unless there are too few to learn from."""
    if prepared.workload.target != "cpu":
        return
    samples = samples_of(prepared.workload, prepared.profile, chosen(trials, MOST_PLANS))
    if len(samples) >= MIN_SAMPLES:
        memory_here(prepared.cache, len(prepared.cpus)).keep(samples)
