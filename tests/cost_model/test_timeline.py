import random
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given

from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import Timeline, simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.plan import Plan, Slice, Wait
from gacer_tune.ir.schedule import Cluster, breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from tests.support.workloads import (
    chain,
    flat_profile,
    happens_before,
    places,
    quick,
    random_profile,
    random_workload,
    randoms,
)

TWO = Workload((chain("a", (2, 2)), chain("b", (2,))))

Case = tuple[Workload, Plan, Profile, Timeline]


def random_case(rng: random.Random, contention: float = 1.0) -> Case:
    workload = random_workload(rng)
    profile = random_profile(rng, workload, contention)
    plan = lower(workload, random_schedule(workload, rng.randint(1, 4), rng))
    return workload, plan, profile, simulate(workload, plan, profile)


def seconds(workload: Workload, profile: Profile, piece: Slice, rows: str = "alone") -> float:
    items = workload.tenants[piece.tenant].kernels[piece.kernel].variants[piece.variant].items
    total: float = getattr(profile, rows)[piece.tenant][piece.kernel][piece.variant]
    return profile.launch_s + total * (piece.hi - piece.lo) / items


@quick
@given(randoms())
def test_slices_take_between_their_time_alone_and_shared(rng: random.Random) -> None:
    workload, plan, profile, timeline = random_case(rng)
    for (lane, at), piece in places(plan):
        took = timeline.ends_s[lane][at] - timeline.starts_s[lane][at]
        assert took >= seconds(workload, profile, piece) * (1 - 1e-9)
        assert took <= seconds(workload, profile, piece, "shared") * (1 + 1e-9)


@quick
@given(randoms())
def test_waits_and_lane_order_are_kept_to_the_hand_over(rng: random.Random) -> None:
    """Each slice starts at the very moment when the last thing that it waits for is over."""
    _, plan, profile, timeline = random_case(rng)
    for (lane, at), piece in places(plan):
        own = [timeline.ends_s[lane][at - 1]] if at else [0.0]
        others = [timeline.ends_s[wait.lane][wait.count - 1] + profile.handover_s for wait in piece.waits]
        assert timeline.starts_s[lane][at] == max(own + others)


@quick
@given(randoms())
def test_never_above_the_pool(rng: random.Random) -> None:
    _, plan, _, timeline = random_case(rng)
    events = sorted(
        event
        for starts, ends in zip(timeline.starts_s, timeline.ends_s, strict=True)
        for start, end in zip(starts, ends, strict=True)
        for event in ((start, 1), (end, -1))
    )
    running = most = 0
    for _, sign in events:
        running += sign
        most = max(most, running)
    assert most <= len(plan.lanes)
    assert all(busy <= timeline.makespan_s * (1 + 1e-9) for busy in timeline.busy_s)
    assert timeline.residue_s >= -1e-12


@quick
@given(randoms())
def test_makespan_is_at_least_the_critical_path_and_the_work_over_the_pool(rng: random.Random) -> None:
    workload, plan, profile, timeline = random_case(rng)
    work = sum(seconds(workload, profile, piece) for piece in plan.slices())
    assert timeline.makespan_s >= work / len(plan.lanes) * (1 - 1e-9)
    longest: dict[tuple[int, int], float] = defaultdict(float)
    for piece in plan.slices():
        key = piece.tenant, piece.kernel
        longest[key] = max(longest[key], seconds(workload, profile, piece))
    for number, tenant in enumerate(workload.tenants):
        ends: list[float] = []
        for kernel, parents in enumerate(tenant.depends):
            ends.append(max((ends[p] for p in parents), default=0.0) + longest[number, kernel])
        assert timeline.tenants_s[number] >= max(ends, default=0.0) * (1 - 1e-9)
    assert timeline.makespan_s == max(timeline.tenants_s)


@quick
@given(randoms())
def test_what_happens_before_ends_before(rng: random.Random) -> None:
    _, plan, _, timeline = random_case(rng)
    for (lane, at), earlier in happens_before(plan).items():
        for other, position in earlier:
            assert timeline.ends_s[other][position] <= timeline.starts_s[lane][at]


@quick
@given(randoms())
def test_one_lane_is_never_shared(rng: random.Random) -> None:
    """Y7: on one lane every order takes the sequential time."""
    workload = random_workload(rng)
    profile = random_profile(rng, workload)
    schedule = random_schedule(workload, 1, rng)
    plan = lower(workload, schedule)
    one_by_one = sum(seconds(workload, profile, piece) for piece in plan.slices())
    assert simulate(workload, plan, profile).makespan_s == pytest.approx(one_by_one)
    assert simulate(workload, plan, profile).residue_s == pytest.approx(0.0, abs=1e-12)


def test_a_toy_by_hand() -> None:
    """a: two kernels of 4 s, b: one of 4 s, each on its lane; beside another they take half as long again.

    0-6 both run, each at 6 s a kernel; then a runs its second kernel alone in 4 s.
    """
    rows = (((4.0,), (4.0,)), ((4.0,),))
    profile = Profile(rows, (((6.0,), (6.0,)), ((6.0,),)))
    timeline = simulate(TWO, lower(TWO, lane_per_tenant(TWO, 2)), profile)
    assert timeline.starts_s == ((0.0, 6.0), (0.0,))
    assert timeline.ends_s == ((6.0, 10.0), (6.0,))
    assert timeline.tenants_s == (10.0, 6.0)
    assert timeline.busy_s == (10.0, 6.0)
    assert timeline.residue_s == 4.0


def test_overlap_is_weighed_by_its_length() -> None:
    """a: 4 s alone, 8 s beside; b: 2 s alone, 4 s beside. b is done at 4 s, half of a is left: 2 s more."""
    workload = Workload((chain("a", (1,)), chain("b", (1,))))
    profile = Profile((((4.0,),), ((2.0,),)), (((8.0,),), ((4.0,),)))
    timeline = simulate(workload, lower(workload, lane_per_tenant(workload, 2)), profile)
    assert timeline.ends_s == ((6.0,), (4.0,))


def test_contention_grows_with_the_busy_lanes() -> None:
    """Two of three lanes busy: half way between alone, 2 s, and shared, 4 s."""
    workload = Workload((chain("a", (1,)), chain("b", (1,))))
    profile = Profile((((2.0,),), ((2.0,),)), (((4.0,),), ((4.0,),)))
    schedule = replace(sequential(workload, 3), clusters=(Cluster(((0,), (1,)), (0, 1)),))
    assert simulate(workload, lower(workload, schedule), profile).ends_s == ((3.0,), (3.0,), ())


def test_hand_over_and_launch_by_hand() -> None:
    """The second kernel's halves wait for both halves of the first: 0.1 + 1 s, 0.5 s of hand-over, 0.1 + 1 s."""
    workload = Workload((chain("a", (2, 2)),))
    profile = flat_profile(workload, seconds=2.0, handover_s=0.5, launch_s=0.1)
    timeline = simulate(workload, lower(workload, sequential(workload, 2)), profile)
    assert timeline.ends_s[0] == pytest.approx((1.1, 2.7))
    assert timeline.makespan_s == pytest.approx(2.7)


def test_a_useless_pointer_costs_exactly_pool_times_switch() -> None:
    """G4: both cuts leave the timeline as it is; GACER's objective charges each one pool x T_SW."""
    plain = sequential(TWO, 2)
    profile = flat_profile(TWO, seconds=2.0, handover_s=0.25)
    one = replace(plain, pointers=((1,), (0,)), clusters=plain.clusters * 2)
    two = replace(plain, pointers=((1, 2), (0, 0)), clusters=plain.clusters * 3)
    timelines = [simulate(TWO, lower(TWO, schedule), profile) for schedule in (breadth_first(TWO, 2), one, two)]
    without, with_one, with_two = timelines
    assert without.objective_s == without.residue_s
    assert (with_one.pointers, with_two.pointers) == (1, 2)
    assert with_one.objective_s == pytest.approx(with_one.residue_s + 2 * 0.25)
    assert with_two.objective_s == pytest.approx(with_two.residue_s + 2 * 2 * 0.25)
    single = sequential(TWO, 1)
    cut = replace(single, pointers=((1,), (0,)), clusters=single.clusters * 2)
    before, after = (simulate(TWO, lower(TWO, schedule), profile) for schedule in (single, cut))
    assert after.ends_s == before.ends_s
    assert after.objective_s - before.objective_s == pytest.approx(1 * 0.25)


def test_lanes_that_wait_in_a_circle_are_refused() -> None:
    plan = lower(TWO, lane_per_tenant(TWO, 2))
    lanes = tuple((replace(lane[0], waits=(Wait(1 - number, 1),)),) for number, lane in enumerate(plan.lanes))
    with pytest.raises(ValueError, match="lanes wait for each other in a circle"):
        simulate(TWO, replace(plan, lanes=lanes), flat_profile(TWO))


def test_an_empty_plan_takes_no_time() -> None:
    nothing = Workload((chain("a", ()),))
    timeline = simulate(nothing, lower(nothing, sequential(nothing, 2)), flat_profile(nothing))
    assert (timeline.makespan_s, timeline.tenants_s, timeline.objective_s) == (0.0, (0.0,), 0.0)
