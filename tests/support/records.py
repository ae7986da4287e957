"""Records of finished searches over made-up workloads."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from gacer_tune.ir.schedule import breadth_first, lane_per_tenant
from gacer_tune.ir.workload import Workload
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.store.fingerprint import Fingerprint
from gacer_tune.store.schedules import Record, Result
from tests.support.workloads import chain, random_profile

PAIR = Workload((chain("det", (4, 6, 6), variants=2), chain("seg", (6, 8), variants=2)))
HERE = Fingerprint(
    machine="x86_64", cpu="Some CPU", cpu_id="Vendor/6/85/7", flags=("avx", "avx2", "fma"), cores=2,
    caches=(("L1d", 32768), ("L2", 1048576)), memory_nbytes=8 << 30, system="Linux 6.1", python="3.11.2",
    packages=(("apache-tvm", "0.27.0"),),
)  # fmt: skip
RESULT = Result("lane_per_tenant", 0.02, 0.015, 0.001, True, 40)
NOW_S = 1_700_000_000.0


def made(workload: Workload = PAIR, best_s: float = RESULT.best_s, **fields: Any) -> Record:
    """A breadth-first schedule that beat the baseline; `fields` are those of the record."""
    runner_up = Trial(lane_per_tenant(workload, 2), Timing((0.016, 0.017), (0.01, 0.016)), "evolve", 7, 1.5)
    values: dict[str, Any] = {
        "workload": workload,
        "profile": random_profile(random.Random(1), workload),
        "schedule": breadth_first(workload, 2),
        "trials": (runner_up,),
        "objective": "makespan",
        "fingerprint": HERE,
        "result": replace(RESULT, best_s=best_s),
        "made_s": NOW_S,
        **fields,
    }
    return Record(**values)
