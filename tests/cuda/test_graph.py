"""Plans as CUDA graphs: exactly the order that a plan asks for, by the rules of capture; and sessions that run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.executor.cuda.driver import Driver, capture
from gacer_tune.executor.cuda.graph import Await, Launch, Mark, Record, Script, issue_order, script
from gacer_tune.executor.cuda.session import MOST_LANES, CudaSession
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.plan import Memory, Plan, Slice, Wait
from gacer_tune.ir.schedule import PRIORITIES, Schedule, lane_per_tenant, sequential
from gacer_tune.ir.workload import Kernel, Workload
from tests.cuda.fake_driver import Array, CaptureError, FakeDriver, Graph
from tests.support.workloads import chain, happens_before, places, quick, randoms, scheduled

PAIR = Workload((chain("a", (4, 3)), chain("b", (2,))), "cuda")


def nothing(function: str, operands: Sequence[Array], span: tuple[int, int]) -> None:
    """A kernel that computes nothing."""


def captured(plan: Plan, steps: Script | None = None) -> Graph:
    driver = FakeDriver(nothing, loads=False)
    steps = steps or script(plan)
    streams = [driver.stream() for _ in range(steps.streams)]
    events = [driver.event() for _ in range(steps.events)]
    marks = [driver.event(timed=True) for _ in steps.marks]

    def launch(operation: Launch, stream: int) -> None:
        driver.launch(str(operation.row), (), (0, 1), stream)

    return driver.graphs[capture(driver, steps, streams, events, marks, launch)]


def piece(*waits: Wait) -> Slice:
    return Slice(0, 0, 0, 0, 1, 0, waits)


def plan_of(*lanes: tuple[Slice, ...]) -> Plan:
    return Plan(lanes, Memory((), 0, 0))


@quick
@given(scheduled())
def test_the_graph_orders_slices_exactly_as_the_plan_does(case: tuple[Workload, Schedule]) -> None:
    plan = lower(*case)
    graph = captured(plan)
    rows = [where for where, _ in places(plan)]
    node_of = {int(node.what[1]): number for number, node in enumerate(graph.nodes)}
    row_at = {number: row for row, number in node_of.items()}
    assert sorted(node_of) == list(range(len(rows)))
    ancestors, before = graph.ancestors(), happens_before(plan)
    for row, where in enumerate(rows):
        assert {rows[row_at[node]] for node in ancestors[node_of[row]]} == before[where]


def test_operations_of_a_small_plan() -> None:
    plan = plan_of((piece(), piece(Wait(1, 1))), (piece(),), ())
    first, second, other = plan.lanes[0][0], plan.lanes[0][1], plan.lanes[1][0]
    assert script(plan).operations == (
        Record(0, 1), Await(1, 1),  # fork; the third stream has nothing to do
        Launch(0, 0, first), Launch(1, 2, other), Record(1, 0),
        Await(0, 0), Launch(0, 1, second),
        Record(1, 2), Await(0, 2),  # join
    )  # fmt: skip
    assert script(plan).events == 3


def test_one_lane_needs_no_event() -> None:
    steps = script(lower(PAIR, sequential(PAIR, 1)))
    assert steps.events == 0
    assert all(isinstance(operation, Launch) for operation in steps.operations)


def test_a_plan_whose_lanes_wait_in_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="in a circle"):
        script(plan_of((piece(Wait(1, 1)),), (piece(Wait(0, 1)),)))


def test_lanes_take_turns() -> None:
    assert list(issue_order([(piece(), piece()), (piece(),)])) == [(0, 0), (1, 0), (0, 1)]


def test_marks_stand_around_slices_or_behind_the_last_of_each_tenant() -> None:
    plan = lower(PAIR, sequential(PAIR, 1))
    assert script(plan, "slices").marks == tuple(Mark(0, row, behind) for row in range(3) for behind in (False, True))
    assert script(plan, "tenants").marks == (Mark(0, 1, True), Mark(0, 2, True))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (Record(0, 1), "has not recorded"),  # the fork
        (Await(1, 1), "no part in the capture"),
        (Record(1, 0), "has not recorded"),
        (Await(0, 2), "not joined"),
    ],
)
def test_the_fake_refuses_what_cuda_refuses(missing: Record | Await, message: str) -> None:
    plan = plan_of((piece(), piece(Wait(1, 1))), (piece(), piece()))
    steps = script(plan)
    less = tuple(operation for operation in steps.operations if operation != missing)
    assert len(less) == len(steps.operations) - 1
    with pytest.raises(CaptureError, match=message):
        captured(plan, replace(steps, operations=less))


class Toy:
    """Kernels of a workload as arithmetic on bytes: each work item makes its part of what the kernel writes."""

    def __init__(self, workload: Workload) -> None:
        self.kernels = {
            variant.function: (tenant, kernel, variant.items)
            for tenant in workload.tenants
            for kernel in tenant.kernels
            for variant in kernel.variants
        }

    def __call__(self, function: str, operands: Sequence[Array], span: tuple[int, int]) -> None:
        tenant, kernel, items = self.kernels[function]
        sizes = [tenant.buffers[operand.buffer].nbytes for operand in kernel.operands]
        parts = list(zip(operands, sizes, kernel.operands, strict=True))
        read = sum(int(memory[:nbytes].sum(dtype=np.int64)) for memory, nbytes, kind in parts if not kind.writes)
        value = (31 * read + kernel.flops) % 251
        for memory, nbytes, kind in parts:
            if kind.writes:  # kernels that write one buffer take turns byte by byte, so that each has a part of its own
                writers = [k for k in tenant.kernels if kind.buffer in k.writes]
                own = np.arange(nbytes) % len(writers) == writers.index(kernel)
                own[: nbytes * span[0] // items] = own[nbytes * span[1] // items :] = False
                memory[:nbytes][own] = value


def session_of(workload: Workload, lanes: int, seed: int = 0, **options: Any) -> CudaSession:
    return session_on(FakeDriver(Toy(workload), seed, **options), workload, lanes)


def session_on(driver: Driver, workload: Workload, lanes: int) -> CudaSession:
    """A session with weights and inputs."""
    session = CudaSession(driver, workload, place(workload), lanes)
    contents = {b.content: b.nbytes for t in workload.tenants for b in t.buffers if b.kind == "weight"}
    session.place_weights((c, np.full(n, len(c), np.uint8)) for c, n in contents.items())
    for number, tenant in enumerate(workload.tenants):
        for port in tenant.inputs:
            session.port(number, port)[...] = number + 1
    return session


def outputs(session: CudaSession, schedule: Schedule) -> list[bytes]:
    session.poison()
    session.run(session.load(lower(session.workload, schedule, session.memory)))
    return [session.port(t, p).tobytes() for t, m in enumerate(session.workload.tenants) for p in m.outputs]


def renamed(kernel: Kernel, name: str) -> Kernel:
    variants = tuple(replace(variant, function=f"{name}/{n}") for n, variant in enumerate(kernel.variants))
    return replace(kernel, variants=variants)


def distinct(workload: Workload) -> Workload:
    """Functions named apart by tenant, and ports as long as their buffers."""
    tenants = []
    for tenant in workload.tenants:
        ports = tuple(replace(p, shape=(tenant.buffers[p.buffer].nbytes,), dtype="uint8") for p in tenant.inputs)
        made = tuple(replace(p, shape=(tenant.buffers[p.buffer].nbytes,), dtype="uint8") for p in tenant.outputs)
        ops = tuple(
            replace(op, kernels=tuple(renamed(k, f"{tenant.name}/{op.name}/{i}") for i, k in enumerate(op.kernels)))
            for op in tenant.ops
        )
        tenants.append(replace(tenant, inputs=ports, outputs=made, ops=ops))
    return Workload(tuple(tenants), "cuda")


@quick
@given(scheduled(), st.integers(0, 2**16))
def test_any_schedule_in_any_legal_order_gives_the_sequential_bytes(case: tuple[Workload, Schedule], seed: int) -> None:
    workload, schedule = distinct(case[0]), case[1]
    expected = outputs(session_of(workload, 1), sequential(workload, 1))
    assert outputs(session_of(workload, 4, seed), schedule) == expected


@quick
@given(randoms())
def test_a_graph_is_updated_where_it_can_be_and_made_anew_where_not(rng: Any) -> None:
    """Either way the last schedule is the one that runs, and no instance is left behind."""
    workload = distinct(PAIR)
    expected = outputs(session_of(workload, 1), sequential(workload, 1))
    session = session_of(workload, 2, refuse_updates=rng.random() < 0.5)
    driver = session.driver
    assert isinstance(driver, FakeDriver)
    old = None
    for _ in range(4):
        old = session.load(lower(workload, random_schedule(workload, 2, rng), session.memory), "tenants", old)
        session.poison()
        session.run(old)
        found = [session.port(t, p).tobytes() for t, m in enumerate(workload.tenants) for p in m.outputs]
        assert found == expected
        assert set(driver.instances) == {old.instance}
        assert not driver.graphs
    assert len(driver.timed) <= 2 + 2 * 4, "timed events are used again"


@quick
@given(randoms())
def test_launches_have_the_priority_of_their_lane(rng: Any) -> None:
    """Also where a graph is updated, and the bytes do not depend on it."""
    workload = distinct(PAIR)
    expected = outputs(session_of(workload, 1), sequential(workload, 1))
    session = session_of(workload, 3)
    driver = session.driver
    assert isinstance(driver, FakeDriver)
    old, streams = None, len(driver.priorities)
    for _ in range(4):
        priorities = tuple(rng.randrange(PRIORITIES) for _ in range(rng.randint(0, 3)))
        schedule = replace(random_schedule(workload, 3, rng), priorities=priorities)
        plan = lower(workload, schedule, session.memory)
        old = session.load(plan, old=old)
        lanes = [lane for lane, slices in enumerate(plan.lanes) for _ in slices]
        wanted = [schedule.lane_priorities[lane] for lane in lanes]
        assert sorted(node.priority for node in driver.instances[old.instance].nodes) == sorted(wanted)
        assert outputs(session, schedule) == expected
    assert len(driver.priorities) <= streams + 3 * (PRIORITIES - 1), "streams are used again"


def test_times_of_marks_follow_the_plan() -> None:
    session = session_of(distinct(PAIR), 2)
    loaded = session.load(lower(session.workload, lane_per_tenant(session.workload, 2), session.memory), "slices")
    assert session.seconds(loaded) > 0
    times = session.times(loaded)
    begins, ends = times[::2], times[1::2]
    assert all(0 < begin < end for begin, end in zip(begins, ends, strict=True))


def test_sessions_refuse_more_lanes_than_they_have() -> None:
    session = session_of(distinct(PAIR), 1)
    plan = lower(session.workload, sequential(session.workload, 2), session.memory)
    with pytest.raises(UserError, match="lanes: 2, this session has 1 streams"):
        session.load(plan)
    with pytest.raises(UserError, match=f"lanes: 99, on a GPU 1 to {MOST_LANES}"):
        session_of(distinct(PAIR), 99)
