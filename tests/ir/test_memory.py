from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given

from gacer_tune.ir import memory as ir_memory
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import ALIGNMENT, place
from gacer_tune.ir.plan import Memory
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Buffer, Tenant, Workload
from tests.support.workloads import Place, chain, happens_before, places, quick, scheduled, workloads

Span = tuple[int, int]


def spans(workload: Workload, memory: Memory) -> list[tuple[int, int, Buffer, Span]]:
    """(tenant, buffer number, buffer, bytes it takes)"""
    return [
        (t, b, buffer, (memory.offsets[t][b], memory.offsets[t][b] + buffer.nbytes))
        for t, tenant in enumerate(workload.tenants)
        for b, buffer in enumerate(tenant.buffers)
    ]


def overlap(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


@quick
@given(workloads())
def test_buffers_are_aligned_and_inside(workload: Workload) -> None:
    memory = place(workload)
    for _, _, buffer, (start, end) in spans(workload, memory):
        assert start % ALIGNMENT == 0
        assert 0 <= start < end <= memory.nbytes
        assert (end <= memory.weights_nbytes) == (buffer.kind == "weight")


@quick
@given(workloads())
def test_only_values_of_one_tenant_share_bytes(workload: Workload) -> None:
    for (t, _, one, first), (u, _, other, second) in combinations(spans(workload, place(workload)), 2):
        if overlap(first, second) and not (one.kind == other.kind == "weight" and one.content == other.content):
            assert t == u
            assert one.kind == other.kind == "value"


@quick
@given(scheduled())
def test_two_live_values_never_overlap_whatever_the_schedule(drawn: tuple[Workload, Schedule]) -> None:
    """All that touches the one is over before anything writes the other, in every order the plan allows."""
    workload, schedule = drawn
    plan = lower(workload, schedule)
    before = happens_before(plan)
    for (t, a, _, one), (u, b, _, other) in combinations(spans(workload, plan.memory), 2):
        if t == u and overlap(one, other):
            touches, writes = uses(workload, schedule, t)
            assert over_before(before, touches[a], writes[b]) or over_before(before, touches[b], writes[a])


def uses(workload: Workload, schedule: Schedule, tenant: int) -> tuple[list[list[Place]], list[list[Place]]]:
    """For each buffer of a tenant the slices that touch it, and those that write it."""
    count = len(workload.tenants[tenant].buffers)
    touches: list[list[Place]] = [[] for _ in range(count)]
    writes: list[list[Place]] = [[] for _ in range(count)]
    for where, piece in places(lower(workload, schedule)):
        if piece.tenant == tenant:
            for operand in workload.tenants[tenant].kernels[piece.kernel].operands:
                touches[operand.buffer].append(where)
                if operand.writes:
                    writes[operand.buffer].append(where)
    return touches, writes


def over_before(before: dict[Place, frozenset[Place]], earlier: list[Place], later: list[Place]) -> bool:
    return all(before[where].issuperset(earlier) for where in later)


def test_values_that_are_never_live_together_share() -> None:
    """v0 -> v1 -> v2 -> v3 -> y: v2 may take the place of v0, v3 that of v1."""
    workload = Workload((chain("a", (1,) * 5),))
    offsets = place(workload).offsets[0]
    assert offsets[3] == offsets[1]
    assert offsets[4] == offsets[2]
    assert len(set(offsets)) == 4


def test_equal_weights_are_stored_once() -> None:
    def tenant(name: str, content: str) -> Tenant:
        made = chain(name, (1,))
        return replace(made, buffers=(*made.buffers, Buffer("w", 100, "weight", content)))

    memory = place(Workload((tenant("a", "one"), tenant("b", "two"), tenant("c", "one"), tenant("d", ""))))
    assert [row[-1] for row in memory.offsets] == [0, 128, 0, 256]  # no content: nothing is known to be equal
    assert memory.weights_nbytes == 384


@pytest.mark.parametrize("many", [1, ir_memory.MANY])
@quick
@given(workloads())
def test_each_value_lies_as_low_as_those_allow_that_it_may_not_share_with(many: int, workload: Workload) -> None:
    """The largest first, each held against all that were placed before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ir_memory, "MANY", many)
        memory = place(workload)
    base = memory.weights_nbytes
    for tenant, row in zip(workload.tenants, memory.offsets, strict=True):
        found, spans = dict[int, Span](), ir_memory._spans(tenant)
        numbers = [b for b, buffer in enumerate(tenant.buffers) if buffer.kind != "weight"]
        for number in sorted(numbers, key=lambda b: (-tenant.buffers[b].nbytes, b)):
            size, at = -(-tenant.buffers[number].nbytes // ALIGNMENT) * ALIGNMENT, base
            for other, (start, end) in sorted(found.items(), key=lambda item: item[1]):
                free = {tenant.buffers[b].kind for b in (number, other)} == {"value"}
                if not (free and ir_memory._ordered(spans[number], spans[other])):
                    if start - at >= size:
                        break
                    at = max(at, end)
            found[number] = (at, at + size)
        assert {number: row[number] for number in found} == {number: span[0] for number, span in found.items()}
        base = max([base, *(end for _, end in found.values())])


def test_values_that_are_far_apart_are_not_held_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a network of thousands of ops takes seconds: each with each."""
    asked: list[Span] = []

    def ordered(one: Span, other: Span) -> bool:
        asked.append(one)
        return one[0] & other[1] == 0 or other[0] & one[1] == 0

    monkeypatch.setattr(ir_memory, "_ordered", ordered)
    place(Workload((chain("a", (1,) * 500),)))
    assert 0 < len(asked) < 4 * 500
