"""What `tune` hands back: a folder with a module, weights, schedules and the record of how they were found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gacer_tune.cost_model.profile import Profile
from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.store.publish import open_artifact, require_listed

MODULE = "module.so"
WEIGHTS = "weights.safetensors"
SCHEDULE = "schedule.json"
TRIALS = "trials.jsonl"
REPORT = "report.html"
TRACE = "trace.json"
PLAN = "plan.txt"  # for target cuda: what a program without Python reads


@dataclass(frozen=True)
class Artifact:
    """schedules by name: `best`, the baselines, and `alone/TENANT` for each tenant (of a workload of that one)."""

    folder: Path
    manifest: dict[str, Any]
    workload: Workload
    schedules: dict[str, Schedule]
    functions: tuple[str, ...]
    profile: Profile

    @property
    def precision(self) -> str:
        """What its products are made in; where an older manifest does not say so the target's own."""
        return str(self.manifest.get("precision", "fp32" if self.workload.target == "cpu" else "fp16"))


def read_artifact(folder: Path) -> Artifact:
    """Read and verify an artifact. Raises UserError naming the file that is missing, damaged or has been changed."""
    manifest = open_artifact(folder, (SCHEDULE,))
    if not manifest.get("simulated"):
        require_listed(folder, manifest, (MODULE, WEIGHTS))
    path = folder / SCHEDULE
    try:
        data = json.loads(path.read_text())
        schedules = {name: Schedule.from_json(schedule) for name, schedule in data["schedules"].items()}
        workload, profile = Workload.from_json(data["workload"]), Profile.from_json(data["profile"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not the schedules of an artifact: {error}") from error
    return Artifact(folder, manifest, workload, schedules, tuple(data["functions"]), profile)


def schedule_document(
    workload: Workload, schedules: dict[str, Schedule], functions: tuple[str, ...], profile: Profile
) -> dict[str, Any]:
    """Content of schedule.json."""
    return {
        "workload": workload.to_json(),
        "schedules": {name: schedule.to_json() for name, schedule in schedules.items()},
        "functions": list(functions),
        "profile": profile.to_json(),
    }
