"""Waits by rows: no slice runs before what it reads is there, and none waits for what it does not read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.plan import Plan, Wait
from gacer_tune.ir.rows import Cut, Link
from gacer_tune.ir.schedule import Schedule, sequential
from gacer_tune.ir.workload import Kernel, Op, Operand, Tenant, Variant, Workload, canonical
from tests.ir.rows import faults, rows_scheduled
from tests.support.workloads import chain, quick

Drawn = tuple[Workload, Schedule]


def by_rows(items: int, rows: int, pitches: tuple[int, int], inner: int = 1) -> Kernel:
    """A kernel whose items, `inner` of each block of rows, cut its rows evenly."""
    cut = Cut(inner, rows * inner, items)
    return Kernel(
        (Operand(0, pitch=pitches[0]), Operand(1, True, pitch=pitches[1])), (Variant("f", items, cut),), rows=rows
    )


def tenant_of(*kernels: Kernel) -> Tenant:
    """A chain of the kernels, over buffers of 64 bytes."""
    plain = chain("a", (1,) * len(kernels))
    ops = []
    for number, (op, kernel) in enumerate(zip(plain.ops, kernels, strict=True)):
        operands = tuple(replace(operand, buffer=operand.buffer + number) for operand in kernel.operands)
        ops.append(Op(op.name, op.kind, (replace(kernel, operands=operands),)))
    return replace(plain, ops=tuple(ops))


def waits(*kernels: Kernel) -> list[list[tuple[Wait, ...]]]:
    """Of each slice of the chain cut over two lanes."""
    workload = Workload((tenant_of(*kernels),))
    return [[piece.waits for piece in lane] for lane in lower(workload, sequential(workload, 2)).lanes]


EVEN = by_rows(4, 8, (8, 8))


def test_rows_that_stay_on_their_lane_wait_for_nothing() -> None:
    assert waits(EVEN, EVEN, by_rows(8, 4, (16, 16), inner=2)) == [[(), (), ()], [(), (), ()]]


def test_only_the_lane_that_reads_a_row_of_the_other_waits() -> None:
    """Rows 0-4 and 5-7 of items of 1 and 3 behind rows 0-3 and 4-7: the first lane reads a row of the second."""
    uneven = replace(EVEN, variants=(Variant("g", 2, Cut(1, 5)),))
    assert waits(EVEN, uneven) == [[(), (Wait(1, 1),)], [(), ()]]


def test_without_rows_every_slice_waits_for_all() -> None:
    for odd in (replace(EVEN, variants=(Variant("g", 4),)), by_rows(4, 8, (0, 8)), by_rows(4, 4, (8, 8))):
        assert waits(EVEN, odd) == [[(), (Wait(1, 1),)], [(), (Wait(0, 1),)]]


@pytest.mark.parametrize(
    ("pitches", "rows", "needed"),
    [
        (((8, 8),), (2, 5), (2, 5)),
        (((8, 4),), (1, 3), (0, 2)),
        (((4, 8),), (1, 3), (2, 6)),
        (((8, 8), (4, 8)), (1, 2), (1, 4)),
    ],
)
def test_rows_of_other_sizes_are_the_bytes_they_lie_in(
    pitches: tuple[tuple[int, int], ...], rows: tuple[int, int], needed: tuple[int, int]
) -> None:
    assert Link(0, pitches).needs(rows) == needed


@settings(max_examples=150, deadline=None)
@given(st.one_of(rows_scheduled(), rows_scheduled(odd=0.0)))
def test_no_byte_is_used_too_early_whatever_the_schedule(drawn: Drawn) -> None:
    workload, schedule = drawn
    assert faults(workload, lower(workload, schedule)) == []


@quick
@given(rows_scheduled())
def test_what_is_said_about_rows_is_read_back(drawn: Drawn) -> None:
    workload, _ = drawn
    text = canonical(workload.to_json())
    assert Workload.from_json(json.loads(text)) == workload
    assert canonical(Workload.from_json(json.loads(text)).to_json()) == text


def test_nothing_is_said_about_rows_and_footprints_where_there_are_none() -> None:
    """As documents were before there were any, which are read as they were."""
    text = canonical(Workload((chain("a", (4, 4)),)).to_json())
    assert not any(word in text for word in ('"cut"', '"pitch"', '"rows"', '"footprint"', '"direct"'))
    assert all(word in canonical(Workload((tenant_of(EVEN),)).to_json()) for word in ('"cut"', '"pitch"', '"rows"'))


def test_a_footprint_is_read_back() -> None:
    heavy = replace(EVEN, variants=tuple(replace(variant, footprint=4096) for variant in EVEN.variants))
    workload = Workload((tenant_of(heavy),))
    assert Workload.from_json(json.loads(canonical(workload.to_json()))) == workload


def test_flops_of_a_definition_are_read_back() -> None:
    tenant = chain("a", (4,))
    workload = Workload((replace(tenant, ops=(replace(tenant.ops[0], direct=5000),)),))
    assert Workload.from_json(json.loads(canonical(workload.to_json()))) == workload


def test_memory_is_not_taken_while_another_lane_may_still_read_it() -> None:
    """A chain over v0 to v4: by rows all its values live at once; else v2 takes the place of v0."""
    chained = Workload((tenant_of(*[EVEN] * 5),))
    assert len(set(place(chained).offsets[0][1:5])) == 4
    whole = replace(EVEN, variants=(Variant("g", 4),))
    apart = Workload((tenant_of(EVEN, EVEN, whole, EVEN, EVEN),))
    assert len(set(place(apart).offsets[0][1:5])) == 2


def test_the_checker_sees_what_is_wrong() -> None:
    """Lanes that do not wait read too early, and memory shared as if they did wait is overwritten."""
    whole = replace(EVEN, variants=(Variant("g", 4),))
    workload = Workload((tenant_of(EVEN, whole, EVEN, EVEN),))
    plan = lower(workload, sequential(workload, 2))
    assert faults(workload, plan) == []
    assert "read before it is written" in {what for what, *_ in faults(workload, without_waits(plan))}
    chained = Workload((tenant_of(*[by_rows(2, 2, (32, 32)), by_rows(8, 8, (8, 8)), *[EVEN] * 3]),))
    offsets = list(place(chained).offsets[0])
    offsets[3] = offsets[1] + 8
    shifted = replace(place(chained), offsets=(tuple(offsets),))
    found = faults(chained, lower(chained, sequential(chained, 2), shifted))
    assert "two values in one place" in {what for what, *_ in found}


def without_waits(plan: Plan) -> Plan:
    return replace(plan, lanes=tuple(tuple(replace(piece, waits=()) for piece in lane) for lane in plan.lanes))
