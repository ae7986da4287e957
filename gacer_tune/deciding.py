"""Which schedule a tuning run hands back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gacer_tune.completions import measure_rows
from gacer_tune.preparing import Prepared
from gacer_tune.report.verdict import Gain
from gacer_tune.search.afresh import Effort, affordable
from gacer_tune.search.anchored import Anchored, anchor_of, quiet_s
from gacer_tune.search.busy import Others
from gacer_tune.search.duel import Surroundings
from gacer_tune.search.objective import Objective
from gacer_tune.search.seeds import BASELINES, objective_of
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.targets import AnyDevice

if TYPE_CHECKING:
    from gacer_tune.search.acceptance import Outcome
    from gacer_tune.settings import Settings


def objective_for(settings: Settings, prepared: Prepared) -> Objective:
    return objective_of(settings.objective, prepared.workload, prepared.profile, len(prepared.cpus))


def effort_for(settings: Settings, trials: Sequence[Trial]) -> Effort:
    """What measuring again may cost where runs take as long as those of the best trial."""
    run_s = min(trial.result.median_s for trial in trials if isinstance(trial.result, Timing))
    return affordable(run_s, settings.budget_s)


def surroundings(prepared: Prepared, trials: Sequence[Trial], fresh: int) -> Surroundings:
    """What the last `fresh` trials tell of quiet moments, and what other processes do. On CPUs only."""
    if prepared.workload.target != "cpu":
        return Surroundings()
    quiet, anchor = quiet_s(trials[len(trials) - fresh :]), anchor_of(trials)
    return Surroundings((anchor[0], quiet) if anchor and quiet else None, Others(len(prepared.cpus)))


def settle(
    settings: Settings,
    prepared: Prepared,
    devices: tuple[AnyDevice, Anchored],
    trials: Sequence[Trial],
    around: Surroundings,
) -> tuple[Outcome, tuple[Gain, ...]]:
    """The last word, and the table by which users judge it, measured on the second device. A winner that is slower
    there than some baseline must win once more: the machine has changed since, or had when it won."""
    (device, calm), passes = devices, effort_for(settings, trials).passes
    outcome = decide(settings, prepared, device, trials, around)
    rows = measure_rows(prepared, calm, outcome.schedule, passes)
    if outcome.accepted and settings.objective == "makespan" and rows[-1].gain < 1:
        rivals = [trial for trial in trials if trial.origin in BASELINES or trial.schedule == outcome.schedule]
        outcome = decide(settings, prepared, device, rivals, around)
        rows = measure_rows(prepared, calm, outcome.schedule, passes)
    return outcome, rows


def decide(
    settings: Settings, prepared: Prepared, device: AnyDevice, trials: Sequence[Trial], around: Surroundings
) -> Outcome:
    from gacer_tune.search.acceptance import accept, finalists  # scipy takes long to import

    objective = objective_for(settings, prepared)
    reference = [trial for trial in trials if trial.origin in BASELINES]
    return accept(device, objective, finalists(trials, objective), reference, effort_for(settings, trials), around)
