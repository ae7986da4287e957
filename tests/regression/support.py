"""Artifacts of made-up workloads, without files."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from gacer_tune.artifact import Artifact
from gacer_tune.checking import Difference
from gacer_tune.ir.schedule import Cluster, Schedule, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.regression.change import Change, Place
from gacer_tune.regression.check import Check, Options
from gacer_tune.regression.times import Row, Run
from gacer_tune.store.fingerprint import host_fingerprint
from tests.support.workloads import chain, random_profile

MIX = Workload((chain("det", (4, 6, 6), variants=2), chain("seg", (6, 8), variants=2)))
LANES = 2
HERE: dict[str, Any] = {
    **host_fingerprint().document(),
    "cpu": "Some CPU",
    "cores": 2,
    "caches": [["L2", 1024]],
    "packages": [["apache-tvm", "0.27.0"]],
}


def artifact(
    schedule: Schedule | None = None, workload: Workload = MIX, functions: tuple[str, ...] = ("f",), **manifest: Any
) -> Artifact:
    """schedule: the one named `best`, sequential unless given."""
    fields = {"isa": "avx2", "fingerprint": HERE, "figures": {"objective": "makespan"}, **manifest}
    chosen = sequential(workload, LANES) if schedule is None else schedule
    profile = random_profile(random.Random(1), workload)
    return Artifact(Path("out"), fields, workload, {"best": chosen}, functions, profile)


def decided(**fields: Any) -> Schedule:
    """The sequential schedule of MIX with other decisions."""
    return replace(sequential(MIX, LANES), **fields)


def one_cluster(*lanes: tuple[int, ...], order: tuple[int, ...] = (0, 1), breadth: bool = False) -> Schedule:
    return decided(clusters=(Cluster(lanes or ((0, 1), (0, 1)), order, breadth),))


def pairs(ratio: float, count: int = 10, base_s: float = 0.01) -> tuple[tuple[Run, Run], ...]:
    """Baseline and new, which takes `ratio` times as long, up to noise of 1 %; tenant 0 is done after half of it."""
    rng = random.Random(3)
    found = []
    for _ in range(count):
        both = [seconds * rng.uniform(0.995, 1.005) for seconds in (base_s, base_s * ratio)]
        found.append((Run(both[0], (both[0] / 2, both[0])), Run(both[1], (both[1] / 2, both[1]))))
    return tuple(found)


ROWS = (
    Row("det", 0.010, 0.0125, 1.25, 1.24, 1.26, 0.0005, 1.0, "slower", False),
    Row("together", 0.020, 0.024, 1.2, 1.19, 1.22, 0.0002, 0.9998, "slower", True),
)
CHANGES = (
    Change("schedule", "issue", "", "depth-first", "breadth-first"),
    Change("schedule", "chunks", "det", "", "1 of 3 ops", (Place("op_1", "one a lane", "4"),)),
    Change("toolchain", "apache-tvm", "", "0.26.0", "0.27.0"),
)


def checked(**fields: Any) -> Check:
    """A check whose result is a regression in time, with changed decisions and equal outputs."""
    values: dict[str, Any] = {
        "baseline": Path("main"),
        "out": Path("out"),
        "options": Options(),
        "tenants": ("det", "<seg>|`x`"),
        "changes": CHANGES,
        "rows": ROWS,
        "outputs": (Difference("det", "y", 0.0), Difference("<seg>|`x`", "y", 1e-7)),
        **fields,
    }
    return Check(**values)
