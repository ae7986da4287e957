import random
from dataclasses import fields, replace
from itertools import islice

import pytest
from hypothesis import given

from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import Only, cross, neighbours, normal, random_schedule
from gacer_tune.ir.schedule import Cluster, Schedule, breadth_first, sequential
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Workload
from tests.support.workloads import chain, quick, random_workload, randoms, scheduled

BIG = Workload((chain("a", (8, 4, 8, 3, 6), variants=3), chain("b", (2, 8), variants=3), chain("c", (5,))))
EVERYWHERE = ((0, 1), (0, 1), (0, 1))


@quick
@given(randoms())
def test_random_schedules_are_legal_and_in_normal_form(rng: random.Random) -> None:
    workload = random_workload(rng)
    schedule = random_schedule(workload, rng.randint(1, 5), rng)
    verify(workload, schedule)
    assert normal(workload, schedule) == schedule


@quick
@given(scheduled(), randoms())
def test_moves_are_legal_new_and_in_normal_form(drawn: tuple[Workload, Schedule], rng: random.Random) -> None:
    workload, schedule = drawn
    for moved in islice(neighbours(workload, schedule, rng), 20):
        verify(workload, moved)
        assert moved != schedule
        assert normal(workload, moved) == moved
        assert moved.lanes == schedule.lanes


@quick
@given(scheduled())
def test_the_normal_form_runs_alike(drawn: tuple[Workload, Schedule]) -> None:
    """What `normal` changes leaves the lanes as they are, but for numbers of clusters that hold nothing."""
    workload, schedule = drawn
    wordy = replace(
        schedule,
        clusters=(*schedule.clusters, schedule.clusters[-1]),
        pointers=tuple(
            (*row, len(tenant.ops)) for row, tenant in zip(schedule.pointers, workload.tenants, strict=True)
        ),
        first=tuple(
            tuple(value + len(cluster_lanes(schedule, t, op)) for op, value in enumerate(row))
            for t, row in enumerate(schedule.first)
        ),
    )
    assert normal(workload, wordy) == schedule
    assert lower(workload, wordy).lanes == lower(workload, schedule).lanes


def cluster_lanes(schedule: Schedule, tenant: int, op: int) -> tuple[int, ...]:
    return schedule.clusters[sum(pointer <= op for pointer in schedule.pointers[tenant])].lanes[tenant]


def test_decisions_without_effect_are_dropped() -> None:
    wordy = Schedule(
        lanes=2,
        pointers=((0, 5), (0, 0), (0, 0)),
        clusters=(
            Cluster(EVERYWHERE, (2, 1, 0)),  # empty
            Cluster(((1,), (0,), (0,)), (2, 0, 1), breadth=True),  # a alone
            Cluster(((0,), (1,), (0, 1)), (2, 0, 1), breadth=True),  # b and c
        ),
        chunks=((1, 0, 1, 1, 1), (1, 1), (99,)),
        first=((7, 7, 7, 7, 7), (3, 3), (3,)),
        variants=((0,) * 5, (0, 0), (0,)),
    )
    assert normal(BIG, wordy) == Schedule(
        lanes=2,
        pointers=((5,), (0,), (0,)),
        clusters=(
            Cluster(((1,), (0, 1), (0, 1)), (0, 1, 2)),
            Cluster(((0, 1), (1,), (0, 1)), (2, 1, 0), breadth=True),
        ),
        chunks=((0,) * 5, (0, 0), (5,)),
        first=((0,) * 5, (0, 0), (1,)),
        variants=((0,) * 5, (0, 0), (0,)),
    )


def test_chunks_that_equal_the_lanes_are_the_default() -> None:
    schedule = replace(sequential(BIG, 2), chunks=((2, 3, 8, 1, 0), (2, 2), (4,)))
    assert normal(BIG, schedule).chunks == ((0, 3, 8, 1, 0), (0, 0), (4,))


@pytest.mark.parametrize(
    ("given", "ranks"),
    [((), ()), ((0, 0, 0), ()), ((2, 2, 2), ()), ((2, 1), (2, 1)), ((0, 2), (0, 1)), ((1, 2, 1), (0, 1)), ((1,), (1,))],
)
def test_priorities_are_ranks(given: tuple[int, ...], ranks: tuple[int, ...]) -> None:
    gpu = replace(BIG, target="cuda")
    schedule = replace(sequential(gpu, 3), priorities=given)
    assert normal(gpu, schedule).priorities == ranks


@pytest.mark.parametrize("only", ["spatial", "temporal"])
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_only_streams_get_priorities(only: Only, target: str) -> None:
    workload = replace(BIG, target=target)
    moved = list(islice(neighbours(workload, sequential(workload, 3), random.Random(1), only), 300))
    found = {schedule.priorities for schedule in moved} - {()}
    assert found == ({(1,), (0, 1), (0, 0, 1)} if (only, target) == ("temporal", "cuda") else set())
    drawn = [random_schedule(workload, 3, random.Random(seed)) for seed in range(100)]
    assert any(schedule.priorities for schedule in drawn) == (target == "cuda")
    for schedule in (*moved, *drawn):
        verify(workload, schedule)


def test_breadth_of_single_ops_is_depth() -> None:
    short = Workload((chain("a", (2,)), chain("b", (2,))))
    assert normal(short, breadth_first(short, 2)) == sequential(short, 2)


@pytest.mark.parametrize("only", ["spatial", "temporal"])
def test_only_one_half_of_the_decisions_moves(only: Only) -> None:
    rng = random.Random(1)
    start = replace(
        sequential(BIG, 3),
        pointers=((2,), (1,), (0,)),
        clusters=(sequential(BIG, 3).clusters[0], Cluster(((0, 1), (2,), (1,)), (1, 0, 2))),
    )
    start = normal(BIG, start)
    for moved in islice(neighbours(BIG, start, rng, only), 300):
        orders = [(cluster.order, cluster.breadth) for cluster in moved.clusters]
        if only == "spatial":
            assert moved.pointers == start.pointers
            assert orders == [(cluster.order, cluster.breadth) for cluster in start.clusters]
        else:
            assert moved.variants == start.variants
            assert (moved.pointers, orders) != (start.pointers, [(c.order, c.breadth) for c in start.clusters])


def test_every_decision_is_reached() -> None:
    rng, start = random.Random(2), normal(BIG, breadth_first(BIG, 3))
    moved = list(islice(neighbours(BIG, start, rng), 2000))
    for field in fields(Schedule):
        reached = {getattr(schedule, field.name) for schedule in moved}
        assert len(reached) > 1 or field.name in ("lanes", "priorities", "shares", "steal")
    cluster = {schedule.clusters[0] for schedule in moved}
    assert {c.breadth for c in cluster} == {True, False}
    assert len({c.order for c in cluster}) > 1
    assert {len(lanes) for c in cluster for lanes in c.lanes} == {1, 2, 3}
    assert {schedule.chunks[0][0] for schedule in moved} == {0, 1, 2, 6}  # 3 is one for each lane: 0
    assert len({schedule.pointers for schedule in moved if len(schedule.clusters) == 2}) > 5


def test_a_family_changes_its_variant_at_once() -> None:
    twin = chain("a", (4, 4), variants=2)
    pair = Workload((twin, twin))
    moved = set(islice(neighbours(pair, sequential(pair, 2), random.Random(3), "spatial"), 400))
    assert ((1, 0), (1, 0)) in {schedule.variants for schedule in moved}
    assert ((1, 0), (0, 0)) in {schedule.variants for schedule in moved}


def test_pointers_can_be_taken_back() -> None:
    start = sequential(BIG, 2)
    first = next(s for s in neighbours(BIG, start, random.Random(4), "temporal") if len(s.clusters) == 2)
    assert any(len(s.clusters) == 1 for s in islice(neighbours(BIG, first, random.Random(5), "temporal"), 200))
    assert any(len(s.clusters) == 3 for s in islice(neighbours(BIG, first, random.Random(5), "temporal"), 200))
    moved = [s for s in islice(neighbours(BIG, first, random.Random(6), "temporal"), 200) if len(s.clusters) == 2]
    assert any(s.pointers != first.pointers for s in moved)


def test_random_pointers_balance_the_work() -> None:
    """The pointers of all tenants cut about the same share of their work: flops, not ops."""
    heavy_head = chain("a", (4,) * 10)
    first = replace(heavy_head.ops[0], kernels=(replace(heavy_head.ops[0].kernels[0], flops=91_000),))
    workload = Workload((replace(heavy_head, ops=(first, *heavy_head.ops[1:])), chain("b", (4,) * 10)))
    rng = random.Random(7)
    drawn = [random_schedule(workload, 2, rng) for _ in range(300)]
    pointers = [s.pointers for s in drawn if len(s.clusters) == 2]
    late = [a[0] for a, b in pointers if 3 <= b[0] <= 7]  # b is cut in the middle
    assert len(late) > 20
    assert sum(a in (0, 1) for a in late) / len(late) > 0.9


def test_children_take_rows_from_both_parents() -> None:
    rng = random.Random(8)
    one, other = random_schedule(BIG, 3, rng), random_schedule(BIG, 3, rng)
    children = [cross(BIG, one, other, rng) for _ in range(40)]
    for child in children:
        verify(BIG, child)
        assert child.pointers == one.pointers
        for t in range(3):
            assert child.variants[t] in (one.variants[t], other.variants[t])
    assert len({child.variants for child in children}) > 2


@pytest.mark.parametrize("workload", [Workload(()), Workload((chain("a", ()),)), Workload((chain("a", (1,)),))])
def test_where_there_is_no_choice_there_are_no_neighbours(workload: Workload) -> None:
    assert list(neighbours(workload, sequential(workload, 1), random.Random(0))) == []


def test_equal_seeds_draw_equal_schedules() -> None:
    def drawn(seed: int) -> list[Schedule]:
        rng = random.Random(seed)
        start = random_schedule(BIG, 4, rng)
        return [start, *islice(neighbours(BIG, start, rng), 30)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
