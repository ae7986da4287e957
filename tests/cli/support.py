"""What commands say, and a module that runs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gacer_tune.artifact import Artifact
from gacer_tune.cli import main
from gacer_tune.ir.lower import lower
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.workload import Workload
from gacer_tune.report.track import simulated


@dataclass(frozen=True)
class Said:
    """What a command has said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> Any:
        """The JSON of the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


Cli = Callable[..., Said]
Fake = Callable[..., None]


def calling(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, run in this process."""

    def call(*arguments: object) -> Said:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


def figures(**changes: Any) -> dict[str, Any]:
    names = ("det", "seg", "together")
    rows = [{"name": n, "sequential_s": 0.02, "lane_per_tenant_s": 0.018, "tuned_s": 0.015} for n in names]
    return {
        "baseline": "lane_per_tenant", "baseline_s": 0.018, "best_s": 0.015, "speedup": 1.2, "p_value": 0.001,
        "accepted": True, "origin": "evolve", "trials": 40, "failed_trials": 2, "strategy": "evolve",
        "seconds_spent": 61.0, "trials_per_minute": 40.0, "objective": "makespan", "rows": rows, **changes,
    }  # fmt: skip


@dataclass
class FakeModule:
    """Runs nothing: each output is the mean of the tenant's inputs, and `skew` more in runs of `best`."""

    artifact: Artifact
    skew: float = 0.0
    ran: list[str] = field(default_factory=list)

    @property
    def workload(self) -> Workload:
        return self.artifact.workload

    @property
    def tenants(self) -> list[str]:
        return [tenant.name for tenant in self.workload.tenants]

    def inputs(self, tenant: str) -> dict[str, tuple[tuple[int, ...], str]]:
        return {p.name: (p.shape, p.dtype) for p in self.workload.tenants[self.tenants.index(tenant)].inputs}

    def plan(self, schedule: str) -> Plan:
        return lower(self.workload, self.artifact.schedules[schedule])

    def run(self, inputs: dict[str, Any], schedule: str = "best") -> dict[str, Any]:
        self.ran.append(schedule)
        more = self.skew if schedule == "best" else 0.0
        return {
            t.name: {p.name: np.full(p.shape, np.mean(inputs[t.name]["x"]) + more, p.dtype) for p in t.outputs}
            for t in self.workload.tenants
        }

    def trace(self) -> list[tuple[int, str, int, int, float, float]]:
        track = simulated("", self.workload, self.artifact.schedules[self.ran[-1]], self.artifact.profile)
        return [(s.tenant, s.op, s.kernel, s.lane, s.begin_s, s.end_s) for s in track.spans]
