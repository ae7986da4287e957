"""Work stealing: as a decision, in the executor, in the timeline, in the search and in what is shown."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gacer_tune.cli.schedule_words import schedule_words
from gacer_tune.cost_model.timeline import HELP, simulate
from gacer_tune.executor import threads
from gacer_tune.executor.session import Loaded
from gacer_tune.ir import stealing as grains
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import neighbours, normal, random_schedule
from gacer_tune.ir.schedule import Cluster, Schedule, lane_per_tenant, sequential
from gacer_tune.ir.verify import IllegalScheduleError, verify
from gacer_tune.ir.workload import Op, Workload, canonical
from gacer_tune.report.track import recorded
from gacer_tune.search.exhaustive import Exhaustive
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.strategy import Space
from gacer_tune.search.tune import STRATEGIES, TuneOptions, tune
from tests.support.compiled import Built, tiny
from tests.support.workloads import chain, flat_profile

TWO = Workload((chain("a", (2, 2)), chain("b", (2,))))
SPACIOUS = len(threads.allowed_cpus()) > 1
SCHEDULES = 150


def stealing(schedule: Schedule) -> Schedule:
    return replace(schedule, steal=True)


def lone(workload: Workload, lane: int) -> Schedule:
    """Everything on one of two lanes, one tenant after the other."""
    count = len(workload.tenants)
    return replace(sequential(workload, 2), clusters=(Cluster(((lane,),) * count, tuple(range(count))),))


@pytest.fixture(scope="module")
def built() -> Built:
    return tiny(2)


@pytest.fixture
def finest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every slice of two items or more can be stolen from, item by item: small models have nothing worth it else."""
    monkeypatch.setattr(grains, "GRAIN_FLOPS", 1e-9)


def test_it_survives_json_and_older_documents_do_not_have_it() -> None:
    plain = sequential(TWO, 2)
    assert Schedule.from_json(json.loads(canonical(stealing(plain).to_json()))) == stealing(plain)
    assert "steal" not in plain.to_json() and plain.digest != stealing(plain).digest
    assert lower(TWO, stealing(plain)).steal and not lower(TWO, plain).steal


def test_a_gpu_and_a_single_lane_have_none() -> None:
    with pytest.raises(IllegalScheduleError, match="steal: for target cpu only, lanes of target cuda"):
        verify(replace(TWO, target="cuda"), stealing(sequential(TWO, 2)))
    assert normal(TWO, stealing(sequential(TWO, 2))).steal
    assert not normal(TWO, stealing(sequential(TWO, 1))).steal


def test_moves_keep_it() -> None:
    rng = random.Random(1)
    for start in (sequential(TWO, 2), stealing(sequential(TWO, 2))):
        assert {moved.steal for moved, _ in zip(neighbours(TWO, start, rng), range(40), strict=False)} == {start.steal}


@pytest.mark.skipif(not SPACIOUS, reason="one CPU has no second lane")
@pytest.mark.usefixtures("finest")
def test_random_schedules_are_exact(built: Built) -> None:
    rng, thefts = random.Random(5), 0
    for _ in range(SCHEDULES):
        loaded = built.bench.load(stealing(random_schedule(built.compiled.workload, 2, rng)))
        assert built.bench.digest(loaded) == built.bench.expected, loaded.plan
        thefts += len(stolen(loaded))
    assert thefts > 0


@pytest.mark.skipif(not SPACIOUS, reason="one CPU has no second lane")
@pytest.mark.usefixtures("finest")
def test_an_idle_lane_takes_part_and_says_so(built: Built) -> None:
    """All slices belong to lane 1; what lane 0 does is in the timeline, inside of the slice that it stole from."""
    loaded = built.bench.load(stealing(lone(built.compiled.workload, 1)))
    for _ in range(1000):
        built.bench.session.run(loaded)
        if thefts := stolen(loaded):
            break
    assert {row[2] for row in thefts} == {0}
    slices = {row[:2]: row for row in loaded.timeline(1.0)[: len(loaded.times)]}
    for tenant, kernel, _, begin, end in thefts:
        *_, first, last = slices[tenant, kernel]
        assert first <= begin <= end <= last
    own, stole = (sum(end - begin for *_, begin, end in some) for some in (slices.values(), thefts))
    assert stole > 0
    assert loaded.worked().sum() == own + stole, "what was stolen is work, too"


@pytest.mark.skipif(not SPACIOUS, reason="one CPU has no second lane")
@pytest.mark.usefixtures("finest")
def test_a_lane_without_slices_is_not_waited_for(built: Built) -> None:
    """Of many runs, so that its counter is one of an earlier run."""
    loaded = built.bench.load(stealing(lone(built.compiled.workload, 0)))
    for _ in range(20):
        built.bench.session.run(loaded)
    assert built.bench.digest(loaded) == built.bench.expected


@pytest.mark.skipif(not SPACIOUS, reason="one CPU has no second lane")
def test_nothing_is_stolen_that_is_not_worth_it_or_not_allowed(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = lane_per_tenant(built.compiled.workload, 2)
    coarse = built.bench.load(stealing(plain))
    monkeypatch.setattr(grains, "GRAIN_FLOPS", 1e-9)
    assert not coarse.table.steal, "slices of a few microseconds"
    assert built.bench.load(stealing(plain)).table.steal
    forbidden = built.bench.load(plain)
    built.bench.session.run(forbidden)
    assert not forbidden.table.steal and stolen(forbidden) == []


def test_grains_by_hand() -> None:
    kernel = replace(TWO.tenants[0].kernels[0], flops=int(8 * grains.GRAIN_FLOPS), nbytes=0)
    variant = replace(kernel.variants[0], items=32)
    assert grains.grain(kernel, variant, 32) == 4, "eight grains in 32 items"
    assert grains.grain(kernel, variant, 8) == 4
    assert grains.grain(kernel, variant, 7) == 0, "one grain and a rest: too short to share"
    assert grains.grain(replace(kernel, flops=0), variant, 32) == 0
    assert grains.grain(replace(kernel, flops=0, nbytes=int(64 * grains.GRAIN_NBYTES)), variant, 32) == 1


def stolen(loaded: Loaded) -> list[tuple[int, int, int, float, float]]:
    """What the timeline of the last run has behind the slices."""
    return loaded.timeline(1.0)[len(loaded.times) :]


def long(workload: Workload, kind: str = "conv2d", items: int = 64) -> Workload:
    """The same with so many items for each op, every item two grains' worth."""

    def longer(op: Op) -> Op:
        (kernel,) = op.kernels
        variants = tuple(replace(variant, items=items) for variant in kernel.variants)
        larger = replace(kernel, variants=variants, flops=int(2 * items * grains.GRAIN_FLOPS))
        return replace(op, kind=kind, kernels=(larger,))

    return replace(workload, tenants=tuple(replace(t, ops=tuple(map(longer, t.ops))) for t in workload.tenants))


def makespan_s(workload: Workload, schedule: Schedule) -> float:
    """Where every kernel takes 2 s."""
    return simulate(workload, lower(workload, schedule), flat_profile(workload, 2.0)).makespan_s


def test_the_timeline_shares_what_is_left() -> None:
    """All on lane 0 and nothing on lane 1."""
    workload = long(TWO)
    alone_s = makespan_s(workload, lone(workload, 0))
    assert makespan_s(workload, stealing(lone(workload, 0))) == pytest.approx(alone_s / (1 + HELP))


def test_a_lane_that_waits_helps_the_one_that_it_waits_for() -> None:
    """Tenant a alone: 2 s on lane 0, then 2 s on lane 1, each waits for the other lane."""
    workload = long(Workload(TWO.tenants[:1]))
    turns = replace(sequential(workload, 2), chunks=((1, 1),), first=((0, 1),))
    assert makespan_s(workload, turns) == pytest.approx(4.0)
    assert makespan_s(workload, stealing(turns)) == pytest.approx(4.0 / (1 + HELP))


@pytest.mark.parametrize(
    "workload",
    [TWO, long(TWO, items=3), long(TWO, "conv2d_inverted")],
    ids=["short", "3 grains", "handing on"],
)
def test_in_the_timeline_too_nobody_helps_where_little_or_nothing_can_be_stolen(workload: Workload) -> None:
    assert makespan_s(workload, stealing(lone(workload, 0))) == makespan_s(workload, lone(workload, 0))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_search_steals_where_it_may_baselines_never(strategy: str) -> None:
    workload = Workload((chain("a", (2,)), chain("b", (1,))))
    profile = flat_profile(workload, 0.01)
    device = SimulatedDevice(workload, profile, 2)

    def found(**given: Any) -> list[bool]:
        options = TuneOptions(budget_s=1e9, trials=10, strategy=strategy, **given)
        return [trial.schedule.steal for trial in tune(workload, device, profile, options)]

    assert found(steal=True) == [False] * 3 + [True] * 7
    assert not any(found()) and not any(found(steal=True, only="spatial"))


def test_stealing_baselines_are_tried_first() -> None:
    profile = flat_profile(TWO, 0.01)
    options = TuneOptions(budget_s=1e9, trials=6, steal=True)
    trials = list(tune(TWO, SimulatedDevice(TWO, profile, 2), profile, options))
    assert [trial.schedule for trial in trials[3:]] == [stealing(trial.schedule) for trial in trials[:3]]
    assert {trial.origin for trial in trials[3:]} == {"evolve"}, "what is found is no baseline"


def test_a_small_space_is_searched_whole() -> None:
    plain, steals = (Exhaustive(Space(TWO, 2, (sequential(TWO, 2),), only="temporal", steal=s)) for s in (False, True))
    assert list(map(stealing, plain.propose([], 1000))) == steals.propose([], 1000)


def test_words_say_it() -> None:
    said = "a lane that waits or is done takes over work items of slices that others are at"
    assert said in schedule_words(TWO, stealing(sequential(TWO, 2)))
    assert said not in schedule_words(TWO, sequential(TWO, 2))


def test_what_was_stolen_is_on_the_track_of_the_thief() -> None:
    plan = lower(TWO, stealing(lone(TWO, 0)))
    rows = [(piece.tenant, "op", piece.kernel, 0, float(at), at + 1.0) for at, piece in enumerate(plan.slices())]
    theft = (0, "op", 1, 1, 1.5, 2.0)
    track = recorded("t", TWO, plan, [*rows, theft])
    assert [span.piece for span in track.spans] == [*plan.slices(), None]
    last = track.spans[-1]
    assert (last.lane, last.begin_s, last.end_s, last.wait_s) == (1, 1.5, 2.0, 1.5)
    np.testing.assert_allclose(track.busy, [1.0, 0.5 / len(rows)])
