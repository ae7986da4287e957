from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given

from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.plan import Plan, Wait
from gacer_tune.ir.schedule import Cluster, Schedule, breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.verify import IllegalScheduleError
from gacer_tune.ir.workload import Workload
from tests.support.workloads import Place, chain, happens_before, places, quick, scheduled

Drawn = tuple[Workload, Schedule]
TWO = Workload((chain("a", (4, 4)), chain("b", (4,))))


def by_kernel(plan: Plan) -> dict[tuple[int, int], list[Place]]:
    found: dict[tuple[int, int], list[Place]] = defaultdict(list)
    for place_, piece in places(plan):
        found[piece.tenant, piece.kernel].append(place_)
    return found


@quick
@given(scheduled())
def test_every_work_item_runs_exactly_once(drawn: Drawn) -> None:
    workload, schedule = drawn
    ranges = defaultdict(list)
    for piece in lower(workload, schedule).slices():
        assert piece.variant == schedule.variants[piece.tenant][piece.kernel]
        ranges[piece.tenant, piece.kernel].append((piece.lo, piece.hi))
    assert set(ranges) == {(t, k) for t, tenant in enumerate(workload.tenants) for k in range(len(tenant.kernels))}
    for (tenant, kernel), found in ranges.items():
        found.sort()
        variant = schedule.variants[tenant][kernel]
        assert found[0][0] == 0
        assert found[-1][1] == workload.tenants[tenant].kernels[kernel].variants[variant].items
        assert all(before[1] == after[0] for before, after in pairwise(found))
        assert all(low < high for low, high in found)


@quick
@given(scheduled())
def test_waits_suffice_and_no_lane_waits_for_ever(drawn: Drawn) -> None:
    workload, schedule = drawn
    plan = lower(workload, schedule)
    before = happens_before(plan)  # fails where a plan cannot be run to its end
    slices = by_kernel(plan)
    for where, piece in places(plan):
        for parent in workload.tenants[piece.tenant].depends[piece.kernel]:
            assert before[where].issuperset(slices[piece.tenant, parent])


def test_priorities_are_those_of_the_schedule() -> None:
    gpu = replace(TWO, target="cuda")
    assert lower(gpu, sequential(gpu, 3)).priorities == ()
    assert lower(gpu, replace(sequential(gpu, 3), priorities=(0, 2))).priorities == (0, 2, 0)


@quick
@given(scheduled())
def test_pointers_are_barriers(drawn: Drawn) -> None:
    workload, schedule = drawn
    plan = lower(workload, schedule)
    before = happens_before(plan)
    for where, piece in places(plan):
        earlier = {other for other, that in places(plan) if that.cluster < piece.cluster}
        assert before[where].issuperset(earlier)


@quick
@given(scheduled())
def test_slices_lie_where_the_pointers_and_lanes_say(drawn: Drawn) -> None:
    workload, schedule = drawn
    for (lane, _), piece in places(lower(workload, schedule)):
        starts = workload.tenants[piece.tenant].first_kernel
        op = max(o for o in range(len(starts) - 1) if starts[o] <= piece.kernel)
        assert piece.cluster == sum(pointer <= op for pointer in schedule.pointers[piece.tenant])
        assert lane in schedule.clusters[piece.cluster].lanes[piece.tenant]


@quick
@given(scheduled())
def test_no_wait_follows_from_earlier_slices_of_its_lane(drawn: Drawn) -> None:
    plan = lower(*drawn)
    before = happens_before(plan)
    for (lane, at), piece in places(plan):
        known = before[lane, at - 1] if at else frozenset()
        assert len({wait.lane for wait in piece.waits}) == len(piece.waits)
        for wait in piece.waits:
            assert wait.lane != lane
            assert 1 <= wait.count <= len(plan.lanes[wait.lane])
            assert (wait.lane, wait.count - 1) not in known


@quick
@given(scheduled(most_lanes=1))
def test_one_lane_needs_no_waits(drawn: Drawn) -> None:
    assert all(not piece.waits for piece in lower(*drawn).slices())


@quick
@given(scheduled())
def test_lowering_twice_gives_one_plan(drawn: Drawn) -> None:
    workload, schedule = drawn
    assert lower(workload, schedule) == lower(workload, schedule, place(workload))


def test_depth_and_breadth_issue_in_their_order() -> None:
    def issued(schedule: Schedule) -> list[tuple[int, int]]:
        return [(piece.tenant, piece.kernel) for piece in lower(TWO, schedule).lanes[0]]

    assert issued(sequential(TWO, 1)) == [(0, 0), (0, 1), (1, 0)]
    assert issued(breadth_first(TWO, 1)) == [(0, 0), (1, 0), (0, 1)]
    last_first = replace(sequential(TWO, 1), clusters=(Cluster(((0,), (0,)), (1, 0)),))
    assert issued(last_first) == [(1, 0), (0, 0), (0, 1)]


def test_tenants_on_lanes_of_their_own_never_wait() -> None:
    plan = lower(TWO, lane_per_tenant(TWO, 2))
    assert [[(piece.tenant, piece.kernel) for piece in lane] for lane in plan.lanes] == [[(0, 0), (0, 1)], [(1, 0)]]
    assert all(not piece.waits for piece in plan.slices())


def test_a_chain_cut_over_two_lanes_waits_for_the_other_half() -> None:
    plan = lower(TWO, sequential(TWO, 2))
    assert [(piece.lo, piece.hi) for piece in plan.lanes[1]] == [(2, 4)] * 3
    assert [piece.waits for piece in plan.lanes[0]] == [(), (Wait(1, 1),), ()]


def test_one_cluster_for_each_tenant_is_the_sequential_order() -> None:
    """G3: pointers that part the tenants leave nothing to overlap."""
    everywhere = Cluster(((0, 1), (0, 1)), (0, 1))
    apart = replace(sequential(TWO, 2), pointers=((2,), (0,)), clusters=(everywhere, everywhere))
    order = [[(p.tenant, p.kernel, p.lo, p.hi) for p in lane] for lane in lower(TWO, apart).lanes]
    assert order == [[(p.tenant, p.kernel, p.lo, p.hi) for p in lane] for lane in lower(TWO, sequential(TWO, 2)).lanes]
    plan = lower(TWO, apart)
    first_of_b = next(where for where, piece in places(plan) if piece.tenant == 1)
    assert happens_before(plan)[first_of_b] == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_an_illegal_schedule_is_not_lowered() -> None:
    with pytest.raises(IllegalScheduleError, match=r"a.op1: 5 chunks, at most 4"):
        lower(TWO, replace(sequential(TWO, 2), chunks=((0, 5), (0,))))
