"""Samples from what users have: artifacts, journals beside them, recordings."""

from __future__ import annotations

from pathlib import Path

from gacer_tune.artifact import SCHEDULE, TRIALS, read_artifact
from gacer_tune.errors import UserError
from gacer_tune.executor.threads import allowed_cpus
from gacer_tune.learning.memory import memory_here
from gacer_tune.learning.recording import SUFFIX, read_recording
from gacer_tune.learning.samples import Samples, samples_of
from gacer_tune.report.trials import read_trials
from gacer_tune.search.trial import Trial
from gacer_tune.store.cache import open_cache
from gacer_tune.store.journal import Journal


def read_samples(path: Path) -> Samples:
    """Of an artifact's folder, of a journal in one, or of a recording. Raises UserError for anything else."""
    if path.is_dir():
        artifact = read_artifact(path)
        return samples_of(artifact.workload, artifact.profile, read_trials(path / TRIALS))
    if not path.is_file():
        raise UserError(f"{path}: no such file; allowed: folders that tune has written, their journals, *{SUFFIX}")
    if path.name.endswith(SUFFIX):
        recording = read_recording(path)
        return samples_of(recording.workload, recording.profile, recording.trials, recording.name)
    return _of_journal(path)


def _of_journal(path: Path) -> Samples:
    if not (path.parent / SCHEDULE).is_file():
        raise UserError(f"{path}: no {SCHEDULE} beside it, so the kernels of its trials are not known")
    artifact = read_artifact(path.parent)
    records, _ = Journal(path).read()
    try:
        trials = [Trial.from_json(r["trial"]) for r in records if r.get("workload") == artifact.workload.key]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: no journal of trials of this version: {error}") from error
    if not trials:
        raise UserError(f"{path}: no trials of the models of {path.parent / SCHEDULE}")
    return samples_of(artifact.workload, artifact.profile, trials)


def remembered(root: Path | None) -> list[Samples]:
    """What searches on this machine have left in the cache, for all its CPUs."""
    return list(memory_here(open_cache(root), len(allowed_cpus())).samples())
