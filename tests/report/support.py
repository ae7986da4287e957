"""A report of made-up figures and times."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.report.content import Report, collect
from gacer_tune.search.trial import Failure, Timing, Trial
from tests.support.workloads import chain, random_profile

NASTY = "<img src=x onerror=\"alert('&')\">"


def artifact(**changes: Any) -> Any:
    """Two tenants on two lanes, the first one with a name that is HTML."""
    rng = random.Random(7)
    workload = Workload((chain(NASTY, (4, 3, 5), 2), chain("seg", (2, 6), 2)))
    rows = [
        {"name": name, "sequential_s": 0.02, "lane_per_tenant_s": 0.018, "tuned_s": 0.015}
        for name in (NASTY, "seg", "together")
    ]
    figures = {
        "baseline": "sequential", "baseline_s": 0.018, "best_s": 0.015, "speedup": 1.2, "p_value": 0.001,
        "accepted": True, "origin": "evolve", "trials": 6, "failed_trials": 2, "strategy": "evolve",
        "seconds_spent": 61.0, "rows": rows, **changes,
    }  # fmt: skip
    fingerprint = {"cpu": "A CPU", "caches": [["L2", 1 << 20]], "memory_nbytes": 8e9, "packages": [["tvm", "1"]]}
    return SimpleNamespace(
        manifest={"figures": figures, "target": "cpu", "isa": "avx2", "fingerprint": fingerprint},
        workload=workload,
        schedules={"sequential": sequential(workload, 2), "best": random_schedule(workload, 2, rng)},
        profile=random_profile(rng, workload),
    )


def trials(workload: Workload) -> list[Trial]:
    """Six: 18, 20, 16 ms, two timeouts and a crash between and after them, and 17 ms."""
    rng = random.Random(3)
    schedule = sequential(workload, 2)
    results: tuple[Timing | Failure, ...] = (
        Timing((0.018,), (0.01, 0.018)),
        Failure("timeout", f"slow {NASTY}"),
        Timing((0.020,), (0.01, 0.02)),
        Timing((0.016,), (0.01, 0.016)),
        Failure("crash", "signal 11"),
        Failure("timeout", "slow again"),
        Timing((0.017,), (0.01, 0.017)),
    )
    origins = ("sequential", *["evolve"] * (len(results) - 1))
    return [
        Trial(random_schedule(workload, 2, rng) if number else schedule, result, origin, number, float(number))
        for number, (result, origin) in enumerate(zip(results, origins, strict=True))
    ]


def report(**changes: Any) -> Report:
    made = artifact(**changes)
    return collect(made, trials(made.workload))
