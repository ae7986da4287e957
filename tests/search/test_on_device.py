"""What the search relies on, on the machine itself: three tiny models, measured. No test here is about how fast."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from gacer_tune.devices.bench import Bench
from gacer_tune.executor import threads
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.schedule import Cluster, Schedule, breadth_first, sequential
from gacer_tune.report.track import recorded
from gacer_tune.runtime import op_of
from gacer_tune.search.beside import TELLING
from gacer_tune.search.trial import Failure, Timing
from tests.support.compiled import Built, tiny

LANES = min(2, len(threads.allowed_cpus()))
CYCLES = 1.1  # cycles become seconds by a frequency that was measured


@pytest.fixture(scope="module")
def built() -> Built:
    return tiny(LANES)


def test_depth_and_breadth_are_both_measured_and_differ_in_order(built: Built) -> None:
    workload = built.compiled.workload
    orders = []
    for make in (sequential, breadth_first):
        schedule = make(workload, LANES)
        timing = built.bench.measure(schedule, 3)
        assert isinstance(timing, Timing) and len(timing.seconds) == 3
        orders.append([tenant for tenant, *_ in built.bench.trace(schedule)])
    changes = [sum(a != b for a, b in pairwise(order)) for order in orders]
    assert changes[1] > changes[0], "breadth-first issue alternates between the tenants"


def one_at_a_time(schedule: Schedule, lengths: list[int]) -> Schedule:
    """A cluster for each tenant, in their order: concurrency 1."""
    count = len(lengths)
    pointers = tuple(tuple(length if cut >= t else 0 for cut in range(count - 1)) for t, length in enumerate(lengths))
    cluster = Cluster(schedule.clusters[0].lanes, tuple(range(count)))
    return Schedule(
        schedule.lanes, pointers, (cluster,) * count, schedule.chunks, schedule.first, schedule.variants
    )  # fmt: skip


def test_concurrency_one_is_the_sequential_plan(built: Built) -> None:
    """The same slices in the same order on the same lanes; only the waits between clusters are added."""
    workload = built.compiled.workload
    plain = sequential(workload, LANES)
    alone = one_at_a_time(plain, [len(tenant.ops) for tenant in workload.tenants])
    assert slices(lower(workload, alone)) == slices(lower(workload, plain))
    rows = [(tenant, begin, end) for tenant, _, _, begin, end in built.bench.trace(alone)]
    for tenant in range(len(workload.tenants) - 1):
        assert max(end for t, _, end in rows if t == tenant) <= min(begin for t, begin, _ in rows if t == tenant + 1)


def slices(plan: Plan) -> list[list[tuple[int, int, int, int, int]]]:
    return [[(s.tenant, s.kernel, s.variant, s.lo, s.hi) for s in lane] for lane in plan.lanes]


def test_utilisation_is_measured(built: Built) -> None:
    """The busy share of each lane, from the cycles at which slices really began and ended."""
    workload = built.compiled.workload
    schedule = sequential(workload, LANES)
    plan = lower(workload, schedule)
    rows = [(t, op_of(workload, t, k), k, lane, a, b) for t, k, lane, a, b in built.bench.trace(schedule)]
    track = recorded("recorded", workload, plan, rows)
    assert all(0 < share <= 1 for share in track.busy)
    busy = sum(end - begin for *_, begin, end in rows)
    assert sum(track.busy) * track.end_s == pytest.approx(busy)
    assert len(track.spans) == sum(map(len, plan.lanes))


def test_every_run_has_its_completions(built: Built) -> None:
    """On one lane: of two, the one that the machine holds up may end the first tenant after the other has ended all."""
    timing = built.bench.measure(sequential(built.compiled.workload, 1), 5)
    assert isinstance(timing, Timing)
    assert len(timing.completions_s) == len(timing.seconds) == 5
    for seconds, completions in zip(timing.seconds, timing.completions_s, strict=True):
        assert 0 < max(completions) <= CYCLES * seconds
        assert list(completions) == sorted(completions), "the tenants run one after the other"
    assert all(tail >= median for tail, median in zip(timing.tails_s, timing.tenants_s, strict=True))


def test_one_module_carries_all_schedules(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule is data: after the module is loaded nothing is compiled or loaded any more."""

    def refuse(*_: object) -> None:
        raise AssertionError("something was compiled or loaded")

    monkeypatch.setattr("tvm_ffi.load_module", refuse)
    monkeypatch.setattr("subprocess.Popen", refuse)
    rng, workload = random.Random(1), built.compiled.workload
    for schedule in {random_schedule(workload, LANES, rng) for _ in range(30)}:
        assert isinstance(built.bench.measure(schedule, 1), Timing)


def test_the_anchor_stays_loaded_and_outputs_are_checked_once(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten candidates, each looked at twice: eleven plans are loaded and eleven runs are checked."""
    rng, workload = random.Random(2), built.compiled.workload
    candidates = sorted({random_schedule(workload, LANES, rng) for _ in range(10)}, key=lambda s: s.digest)
    bench, loads = Bench(built.bench.session), []
    check = bench.load_right
    monkeypatch.setattr(bench, "load_right", lambda schedule: (loads.append(schedule), check(schedule))[1])
    anchor = sequential(workload, LANES), 1.0
    for schedule in candidates:
        for pairs in (3, 2):
            timing = bench.beside(anchor, schedule, pairs)
            assert isinstance(timing, Timing) and len(timing.anchors_s) == pairs
            assert all(
                0 < max(done) <= CYCLES * s for s, done in zip(timing.seconds, timing.completions_s, strict=True)
            )
            assert all(run > 0 for run in timing.raw_s)
    assert len(loads) == len(set(loads)) == 11
    hopeless = bench.beside(anchor, candidates[0], TELLING + 1, give_up_s=1e-9)
    assert isinstance(hopeless, Timing) and len(hopeless.seconds) == TELLING


def test_wrong_outputs_are_found_beside_the_anchor(built: Built) -> None:
    bench = Bench(built.bench.session)
    anchor = sequential(built.compiled.workload, LANES), 1.0
    assert isinstance(bench.beside(anchor, sequential(built.compiled.workload, 1), 1), Timing)
    bench.expected = "0" * 64
    other = random_schedule(built.compiled.workload, LANES, random.Random(3))
    assert bench.beside(anchor, other, 1) == Failure("wrong-output", "outputs differ from those of the sequential plan")
