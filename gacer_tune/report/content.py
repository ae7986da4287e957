"""What the report page shows, gathered from an artifact and its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from gacer_tune.cost_model.profile import Profile
from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.report.charts import Curve, Point
from gacer_tune.report.predicted import Predictions, predictions
from gacer_tune.report.track import Track, simulated
from gacer_tune.report.units import nbytes_text, plain
from gacer_tune.report.verdict import Figures, objective_name, words
from gacer_tune.search.objective import Objective
from gacer_tune.search.seeds import BASELINES, alone_s, objective_of
from gacer_tune.search.trial import Failure, Timing, Trial


class Artifact(Protocol):
    """What is needed of `gacer_tune.artifact.Artifact`."""

    @property
    def manifest(self) -> Mapping[str, Any]: ...

    @property
    def workload(self) -> Workload: ...

    @property
    def schedules(self) -> Mapping[str, Schedule]: ...

    @property
    def profile(self) -> Profile: ...


@dataclass(frozen=True, slots=True)
class FailureCount:
    """All failures of one kind; `message` is the first one's."""

    kind: str
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """measured: (trial, seconds); best: the same for the best so far; curves: the best so far of each strategy.

    predictions   by the timeline alone, and by the cost model for trials that it has not learned from
    completions   of the tenants, in every trial that did not fail
    slow_downs    of each tenant in the written schedule, against its time alone; empty where that is not known
    """

    figures: Figures
    before: Track
    after: Track
    measured: tuple[Point, ...]
    best: tuple[Point, ...]
    curves: tuple[Curve, ...]
    failures: tuple[FailureCount, ...]
    predictions: tuple[Predictions, Predictions]
    completions: tuple[tuple[float, ...], ...]
    slow_downs: tuple[float, ...]
    environment: tuple[tuple[str, str], ...]


def collect(artifact: Artifact, trials: Sequence[Trial]) -> Report:
    """Raises UserError for an artifact without figures or without the schedules that they name."""
    figures = Figures.from_manifest(artifact.manifest)
    for name in (figures.baseline, "best"):
        if name not in artifact.schedules:
            raise UserError(f"schedule.json: no schedule {name!r}, it has {', '.join(artifact.schedules)}")
    workload, lanes = artifact.workload, artifact.schedules["best"].lanes
    objective = objective_of(objective_name(figures.objective), workload, artifact.profile, lanes)
    measured = [(float(t.number), objective.of(t.result)) for t in trials if isinstance(t.result, Timing)]
    return Report(
        figures=figures,
        before=_track(f"best baseline: {words(figures.baseline)}", artifact, figures.baseline),
        after=_track(f"written: {words(figures.origin)}", artifact, "best"),
        measured=tuple(measured),
        best=_best_so_far(measured),
        curves=_curves(trials, objective),
        failures=_failures(trials),
        predictions=predictions(workload, artifact.profile, trials, objective),
        completions=tuple(t.result.tenants_s for t in trials if isinstance(t.result, Timing)),
        slow_downs=_slow_downs(figures, alone_s(workload, artifact.profile, lanes)),
        environment=tuple(_environment(artifact.manifest)),
    )


def _track(title: str, artifact: Artifact, name: str) -> Track:
    return simulated(title, artifact.workload, artifact.schedules[name], artifact.profile)


def _best_so_far(measured: Sequence[Point]) -> tuple[Point, ...]:
    """Only the trials that were better than all before them."""
    best: list[Point] = []
    for number, seconds in measured:
        if not best or seconds < best[-1][1]:
            best.append((number, seconds))
    return tuple(best)


def _failures(trials: Sequence[Trial]) -> tuple[FailureCount, ...]:
    """By kind, the most frequent first."""
    found: dict[str, list[str]] = {}
    for trial in trials:
        if isinstance(trial.result, Failure):
            found.setdefault(trial.result.kind, []).append(trial.result.message)
    counts = (FailureCount(kind, len(messages), messages[0]) for kind, messages in found.items())
    return tuple(sorted(counts, key=lambda row: (-row.count, row.kind)))


def _curves(trials: Sequence[Trial], objective: Objective) -> tuple[Curve, ...]:
    """Of each strategy, in order of its first trial: it starts from the best baseline and counts its own trials."""
    good = [(trial.origin, objective.of(trial.result)) for trial in trials if isinstance(trial.result, Timing)]
    start = min((value for origin, value in good if origin in BASELINES), default=inf)
    found = []
    for name in dict.fromkeys(trial.origin for trial in trials if trial.origin not in BASELINES):
        own = [value for origin, value in good if origin == name]
        points = [(0.0, start)] if start < inf else []
        points += [(float(number), value) for number, value in enumerate(own, start=1)]
        found.append(Curve(words(name), _best_so_far(points), len(own)))
    return tuple(found)


def _slow_downs(figures: Figures, alone: Sequence[float]) -> tuple[float, ...]:
    rows = figures.rows[:-1]
    if len(rows) != len(alone) or not all(alone):
        return ()
    return tuple(row.tuned_s / seconds for row, seconds in zip(rows, alone, strict=True))


def _environment(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(key, manifest[key]) for key in ("target", "isa", "precision") if key in manifest]
    fingerprint = manifest.get("fingerprint")
    if isinstance(fingerprint, Mapping):
        rows += [(key.removesuffix("_nbytes"), _described(key, value)) for key, value in fingerprint.items()]
    return [(words(str(key)), plain(value)) for key, value in rows]


def _described(key: str, value: Any) -> Any:
    """Bytes in words."""
    if key == "memory_nbytes":
        return nbytes_text(value)
    return [(name, nbytes_text(nbytes)) for name, nbytes in value] if key == "caches" else value
