from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from gacer_tune.ir.schedule import Cluster, Schedule, breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.verify import IllegalScheduleError, verify
from gacer_tune.ir.workload import Workload
from tests.support.workloads import chain, quick, workloads

TWO = Workload((chain("a", (4, 3), variants=2), chain("b", (2,))))
LEGAL = sequential(TWO, 2)
CLUSTER = LEGAL.clusters[0]


def refusal(workload: Workload, schedule: Schedule) -> str:
    """Why it is illegal; nothing where it is legal."""
    try:
        verify(workload, schedule)
    except IllegalScheduleError as error:
        return str(error)
    return ""


def with_cluster(**changes: Any) -> dict[str, Any]:
    return {"clusters": (replace(CLUSTER, **changes),)}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lanes": 0}, "lanes: 0, at least 1"),
        ({"chunks": ((0, 0),)}, "chunks: 1 rows, the workload has 2 tenants"),
        ({"pointers": ((), (), ())}, "pointers: 3 rows, the workload has 2 tenants"),
        (with_cluster(order=(0, 0)), "cluster 0: order [0, 0], each of the 2 tenants once"),
        (with_cluster(order=(0,)), "cluster 0: order [0], each of the 2 tenants once"),
        (with_cluster(lanes=((0,),)), "cluster 0: lanes for 1 tenants, the workload has 2"),
        (with_cluster(lanes=((0,), ())), "cluster 0: tenant 1 has no lane, at least one"),
        (with_cluster(lanes=((0,), (2,))), "cluster 0: tenant 1 on lane 2, lanes are 0 to 1"),
        (with_cluster(lanes=((-1,), (0,))), "cluster 0: tenant 0 on lane -1, lanes are 0 to 1"),
        (with_cluster(lanes=((1, 1), (0,))), "cluster 0: tenant 0 on lanes [1, 1], each at most once"),
        ({"pointers": ((1,), (1,))}, "a: 1 pointers for 1 clusters"),
        ({"pointers": ((3,), (1,)), "clusters": (CLUSTER, CLUSTER)}, "a: pointer at 3, allowed are 0 to 2"),
        (
            {"pointers": ((2, 1), (1, 1)), "clusters": (CLUSTER,) * 3},
            "a: pointer at 1, allowed are 2 to 2",
        ),
        ({"chunks": ((0,), (0,))}, "a: chunks for 1 ops, it has 2"),
        ({"first": ((0, 0), (0, 0))}, "b: first for 2 ops, it has 1"),
        ({"chunks": ((0, -1), (0,))}, "a.op1: chunks -1, at least 0"),
        ({"chunks": ((0, 4), (0,))}, "a.op1: 4 chunks, at most 3"),
        ({"first": ((0, -2), (0,))}, "a.op1: first -2, at least 0"),
        ({"variants": ((0,), (0,))}, "a: variants for 1 kernels, it has 2"),
        ({"variants": ((0, 2), (0,))}, "a.op1: variant 2, allowed are 0 to 1"),
        ({"variants": ((-1, 0), (0,))}, "a.op0: variant -1, allowed are 0 to 1"),
    ],
)
def test_what_is_illegal_is_named(change: dict[str, Any], text: str) -> None:
    assert refusal(TWO, replace(LEGAL, **change)) == text


def test_the_limits_themselves_are_legal() -> None:
    edge = Schedule(
        lanes=2,
        pointers=((0, 2), (0, 1)),
        clusters=(CLUSTER, Cluster(((1, 0), (1,)), (1, 0), True), CLUSTER),
        chunks=((4, 3), (2,)),
        first=((99, 0), (7,)),
        variants=((1, 1), (0,)),
    )
    assert refusal(TWO, edge) == ""


@pytest.mark.parametrize(
    ("target", "priorities", "text"),
    [
        ("cpu", (0, 1), "priorities: for target cuda only, lanes of target cpu have none"),
        ("cpu", (), ""),
        ("cuda", (0, 1, 0), "priorities: 3, there are 2 lanes"),
        ("cuda", (0, 3), "lane 1: priority 3, allowed are 0 to 2"),
        ("cuda", (-1,), "lane 0: priority -1, allowed are 0 to 2"),
        ("cuda", (2, 0), ""),
    ],
)
def test_priorities_are_for_streams(target: str, priorities: tuple[int, ...], text: str) -> None:
    assert refusal(replace(TWO, target=target), replace(LEGAL, priorities=priorities)) == text


@quick
@given(workloads())
def test_the_baselines_are_legal(workload: Workload) -> None:
    for lanes in (1, 2, 5):
        for make in (sequential, lane_per_tenant, breadth_first):
            assert refusal(workload, make(workload, lanes)) == ""
