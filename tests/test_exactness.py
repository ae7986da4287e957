"""Any legal schedule gives the bits of the sequential one, runs every item once, honours waits and pointers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gacer_tune.executor import threads
from gacer_tune.executor.session import Loaded
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import neighbours, random_schedule
from gacer_tune.ir.schedule import Schedule, breadth_first, lane_per_tenant, sequential
from tests.support.compiled import Built, narrow, tiny

LANES = min(2, len(threads.allowed_cpus()))
SCHEDULES = 200


@pytest.fixture(scope="module", params=[tiny, narrow])
def built(request: pytest.FixtureRequest) -> Built:
    return request.param(LANES)  # type: ignore[no-any-return]


def early(loaded: Loaded) -> list[int]:
    """Rows that did not run in this run, or before one that they wait for or one before them on their lane."""
    starts, times, found = loaded.table.starts, loaded.times, []
    for lane in range(loaded.table.lanes):
        for row in range(starts[lane], starts[lane + 1]):
            begin, end = times[row]
            after = [times[starts[wait.lane] + wait.count - 1][1] for wait in loaded.table.slices[row].waits]
            after += [times[row - 1][1]] if row > starts[lane] else []
            if not 0 < begin <= end or any(begin < earlier for earlier in after):
                found.append(row)
    return found


def untiled(built: Built, schedule: Schedule) -> list[tuple[int, int]]:
    """(tenant, kernel) whose slices do not tile its work items."""
    workload = built.compiled.workload
    spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for piece in lower(workload, schedule).slices():
        spans.setdefault((piece.tenant, piece.kernel), []).append((piece.lo, piece.hi))
    found = []
    for t, tenant in enumerate(workload.tenants):
        for k, kernel in enumerate(tenant.kernels):
            cuts = sorted(spans.get((t, k), []))
            bounds = [lo for lo, _ in cuts], [hi for _, hi in cuts]
            items = kernel.variants[schedule.variants[t][k]].items
            if (*bounds[0], items) != (0, *bounds[1]) or any(lo >= hi for lo, hi in cuts):
                found.append((t, k))
    return found


def wrong(built: Built, schedule: Schedule) -> dict[str, object]:
    """What a run of the schedule does that it should not."""
    loaded = built.bench.load(schedule)
    loaded.times[:] = 0
    found = {
        "outputs": built.bench.digest(loaded) != built.bench.expected,
        "early": early(loaded),
        "untiled": untiled(built, schedule),
    }
    return {what: value for what, value in found.items() if value}


@pytest.mark.parametrize("baseline", [sequential, lane_per_tenant, breadth_first])
def test_baselines_are_exact(built: Built, baseline: object) -> None:
    assert wrong(built, baseline(built.compiled.workload, LANES)) == {}  # type: ignore[operator]


def test_random_schedules_are_exact(built: Built) -> None:
    rng = random.Random(7)
    seen = set()
    for _ in range(SCHEDULES):
        schedule = random_schedule(built.compiled.workload, LANES, rng)
        seen.add(schedule.digest)
        assert wrong(built, schedule) == {}, schedule
    assert len(seen) > SCHEDULES / 2


def test_neighbours_are_exact(built: Built) -> None:
    rng = random.Random(11)
    schedule = sequential(built.compiled.workload, LANES)
    for _ in range(60):
        schedule = next(neighbours(built.compiled.workload, schedule, rng))
        assert wrong(built, schedule) == {}, schedule


def test_a_missing_wait_is_noticed(built: Built) -> None:
    """The check itself: a plan that leaves a slice out does not pass for a right one on poisoned memory."""
    loaded = built.bench.load(sequential(built.compiled.workload, 1))
    loaded.table.rows[0, 2] = loaded.table.rows[0, 1]
    tables = np.from_dlpack(loaded.tensors[0])
    tables[2] = tables[1]
    assert built.bench.digest(loaded) != built.bench.expected


def test_pointers_separate_clusters_in_time(built: Built) -> None:
    rng = random.Random(3)
    workload = built.compiled.workload
    schedule = next(s for s in iter(lambda: random_schedule(workload, LANES, rng), None) if len(s.clusters) > 1)
    loaded = built.bench.load(schedule)
    built.bench.session.run(loaded)
    clusters = np.array([piece.cluster for piece in loaded.table.slices])
    for cluster in range(1, len(schedule.clusters)):
        before, after = loaded.times[clusters < cluster], loaded.times[clusters == cluster]
        if len(before) and len(after):
            assert before[:, 1].max() <= after[:, 0].min()
