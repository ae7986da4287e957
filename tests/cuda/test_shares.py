"""Shares of a GPU that lanes have: as a decision, in plans and their listings, in the search, on a simulated GPU."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.executor.cuda.listing import listing
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import neighbours, normal, random_schedule
from gacer_tune.ir.schedule import PARTS, Schedule
from gacer_tune.ir.streams import even_shares, random_shares
from gacer_tune.ir.verify import IllegalScheduleError, verify
from gacer_tune.ir.workload import Workload, canonical
from gacer_tune.search.simulated_gpu import GPU_MODELS, load_of, profile_of, simulate_gpu, simulated_gpu
from gacer_tune.search.simulated_gpu import given as sms_given
from gacer_tune.search.streams import stream_per_tenant
from gacer_tune.search.trial import Timing
from gacer_tune.search.tune import TuneOptions, tune
from tests.cuda.test_simulated_gpu import TOY, idle, kernel, pair, timeline
from tests.support.workloads import chain, quick, randoms

PAIR = Workload((chain("a", (4, 3)), chain("b", (2,))), "cuda")


def shared(*shares: int, lanes: int = 3) -> Schedule:
    return replace(stream_per_tenant(PAIR, lanes), shares=shares)


def test_shares_survive_json() -> None:
    schedule = shared(2, 5)
    assert Schedule.from_json(json.loads(canonical(schedule.to_json()))) == schedule
    assert schedule.lane_shares == (2, 5, 0)
    assert schedule.digest != shared().digest and "shares" not in shared().to_json()


def test_parts_of_lanes_do_not_overlap() -> None:
    assert lower(PAIR, shared(3, 0, 5)).parts == ((0, 3), None, (3, 8))
    assert lower(PAIR, shared()).parts == (None, None, None)


@pytest.mark.parametrize(
    ("target", "shares", "text"),
    [
        ("cpu", (1,), "shares: for target cuda only, lanes of target cpu have none"),
        ("cuda", (1, 1, 1, 1), "shares: 4, there are 3 lanes"),
        ("cuda", (1, -1), "lane 1: share -1, allowed are 0 to 8"),
        ("cuda", (4, 5), "shares: 9 parts in all, the GPU has 8"),
    ],
)
def test_shares_that_cannot_be(target: str, shares: tuple[int, ...], text: str) -> None:
    with pytest.raises(IllegalScheduleError, match=text):
        verify(replace(PAIR, target=target), shared(*shares))


def test_a_line_for_each_stream_with_a_share() -> None:
    lines = listing(PAIR, lower(PAIR, shared(3, 0, 5))).splitlines()
    assert lines[1:4] == ["streams 3", "parts 0 0 3", "parts 2 3 8"]


def test_shares_of_lanes_that_nobody_uses_are_nothing() -> None:
    assert normal(PAIR, shared(3, 0, 5)).shares == (3,)
    assert normal(PAIR, shared(0, 0, 5)).shares == ()
    assert even_shares(stream_per_tenant(PAIR, 3)).shares == (4, 4)
    many = Workload(tuple(chain(name, (1,)) for name in "abcdefghij"), "cuda")
    assert even_shares(stream_per_tenant(many, 10)).shares == (1,) * 8, "more lanes than parts"


@quick
@given(st.integers(0, 2**16))
def test_the_search_changes_shares_only_where_there_are_some(seed: int) -> None:
    rng = random.Random(seed)
    start = stream_per_tenant(PAIR, 3)
    assert not any(schedule.shares for schedule in islice(neighbours(PAIR, start, rng), 30))
    assert not random_schedule(PAIR, 3, rng).shares
    moved = list(islice(neighbours(PAIR, even_shares(start), rng, "spatial"), 60))
    assert len({schedule.shares for schedule in moved}) > 2
    for schedule in moved:
        verify(PAIR, schedule)
        lower(PAIR, schedule)
    drawn = [random_shares(PAIR, random_schedule(PAIR, 3, rng), rng) for _ in range(30)]
    assert len({schedule.shares for schedule in drawn}) > 2
    for schedule in drawn:
        verify(PAIR, schedule)
        assert schedule == normal(PAIR, schedule)


def ends(workload: Workload, schedule: Schedule) -> list[float]:
    return [lane[-1] for lane in timeline(workload, schedule).ends_s if lane]


def test_the_highest_priority_gets_its_sms_first() -> None:
    """Ten seconds each on all SMs: side by side both take twenty, else the lower one comes when the other is done."""
    large = pair(90, 10)
    both = stream_per_tenant(large, 2)
    assert ends(large, both) == pytest.approx([2.0 + 20, 2.0 + 20])
    assert ends(large, replace(both, priorities=(0, 1))) == pytest.approx([2.0 + 20, 2.0 + 10])
    assert ends(large, replace(both, priorities=(2,))) == pytest.approx([2.0 + 10, 2.0 + 20])


def test_what_the_highest_priority_leaves_is_used() -> None:
    """Half of the SMs for ten seconds beside all of them for ten: at half the speed until then, five are left."""
    workload = Workload((idle(chain("a", (5,)), 45), idle(chain("b", (10,)), 90)), "cuda")
    both = stream_per_tenant(workload, 2)
    assert ends(workload, both) == pytest.approx([2.0 + 15, 2.0 + 15])
    assert ends(workload, replace(both, priorities=(1,))) == pytest.approx([2.0 + 10, 2.0 + 15])


def test_sms_by_hand() -> None:
    whole, half = (load_of(TOY, "fp16", kernel(blocks), kernel(blocks).variants[0], blocks) for blocks in (10, 5))
    assert sms_given({0: half, 1: half, 2: whole}, (1, 1, 0)) == {0: 1.0, 1: 1.0, 2: 0.0}
    assert sms_given({0: half, 1: whole, 2: whole}, (2, 0, 0)) == {0: 1.0, 1: 0.25, 2: 0.25}
    assert sms_given({0: whole, 1: half}, (0, 0)) == {0: 2 / 3, 1: 2 / 3}


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((4, 4), (20, 20)),  # five SMs each: two waves of ten seconds
        ((6, 2), (20, 50)),  # seven and two SMs: two and five waves
        ((8,), (20, 20)),  # of all of it, as long as the other one is there
    ],
)
def test_lanes_with_shares_by_hand(shares: tuple[int, ...], expected: tuple[float, float]) -> None:
    large = pair(90, 10)
    found = ends(large, replace(stream_per_tenant(large, 2), shares=shares))
    assert found == pytest.approx([2.0 + seconds for seconds in expected])


def test_a_share_leaves_room_for_a_latency_that_does_not_wait() -> None:
    """A kernel of one wave on its own part ends as if it were alone, whatever the other lane does."""
    workload = Workload((idle(chain("a", (5,)), 45), idle(chain("b", (40,)), 360)), "cuda")
    shares = replace(stream_per_tenant(workload, 2), shares=(4, 4))
    assert ends(workload, shares)[0] == 2.0 + 10
    assert ends(workload, replace(shares, shares=()))[0] > 2.0 + 14


# On 80 SMs: a large kernel has six waves of ten seconds, on 70 of them too; a small one takes a second on two.
WIDE = replace(TOY, sms=80)
UNEVEN = Workload((idle(chain("large", (420,) * 2), 472), idle(chain("small", (2,) * 40))), "cuda")


def test_a_small_kernel_waits_for_blocks_that_run_unless_it_has_a_share() -> None:
    """Whatever its priority: blocks of the large kernel end every ten seconds."""
    both = stream_per_tenant(UNEVEN, 2)
    for schedule in (both, replace(both, priorities=(0, 1)), replace(both, shares=(8,)), replace(both, shares=(0, 1))):
        begins = simulate_gpu(UNEVEN, lower(UNEVEN, schedule), WIDE, "fp16").starts_s[1]
        assert begins[2] > 2.0 + 10 and begins[3] > 2.0 + 20
    for shares in ((7, 1), (7,)):
        found = simulate_gpu(UNEVEN, lower(UNEVEN, replace(both, shares=shares)), WIDE, "fp16")
        assert found.starts_s[1][3] == pytest.approx(2.0 + 3 * 1.25)
        assert found.makespan_s == pytest.approx(2.0 + 2 * 60 + 0.25, rel=0.02)


@pytest.mark.parametrize("seed", [0, 2])
def test_the_search_gains_from_shares_where_it_is_asked_for_them(seed: int) -> None:
    best = {}
    for shares in (False, True):
        device = simulated_gpu(UNEVEN, WIDE, "fp16", 2, noise=0.0)
        options = TuneOptions(budget_s=60, trials=60, seed=seed, shares=shares)
        trials = list(tune(UNEVEN, device, profile_of(UNEVEN, WIDE, "fp16", 2), options))
        assert [trial.origin for trial in trials].count("even_shares") == shares
        assert shares or not any(trial.schedule.shares for trial in trials)
        best[shares] = min((t.result.median_s, t.schedule.shares) for t in trials if isinstance(t.result, Timing))
    assert best[True][0] < 0.8 * best[False][0]
    assert best[True][1] and not best[False][1]


@quick
@given(randoms(), st.integers(0, PARTS))
def test_plans_with_shares_and_priorities_end(rng: random.Random, first: int) -> None:
    schedule = random_schedule(PAIR, 3, rng)
    schedule = replace(schedule, shares=(first, PARTS - first), priorities=(0, 2, 1))
    device = simulated_gpu(PAIR, GPU_MODELS["h100"], "fp16", 3)
    assert isinstance(device.measure(schedule, 2), Timing)
