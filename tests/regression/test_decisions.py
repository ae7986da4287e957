"""Every kind of decision that two artifacts can differ in, in words."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.ir.neighbours import neighbours, normal, random_schedule
from gacer_tune.ir.schedule import Schedule, breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Op, Tenant, Variant, Workload
from gacer_tune.regression.decisions import decisions, kernel_names, lanes_text
from tests.regression.support import LANES, MIX, artifact, decided, one_cluster
from tests.support.workloads import chain, quick, workloads

TWO = decided(pointers=((1,), (2,)), clusters=one_cluster().clusters * 2)


def words(before: Schedule, after: Schedule) -> list[str]:
    return [change.text for change in decisions(artifact(before), artifact(after))]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (one_cluster((0,), (0, 1)), ["det: lanes by cluster 0 (was 0-1)"]),
        (one_cluster((1, 0), (0, 1)), ["det: lanes by cluster 1,0 (was 0-1)"]),
        (one_cluster(order=(1, 0)), ["order of tenants seg, det (was det, seg)"]),
        (one_cluster(breadth=True), ["issue breadth-first (was depth-first)"]),
        (decided(chunks=((0, 4, 0), (0, 0))), ["det: chunks of 1 of 3 ops: op1 4 (was one a lane)"]),
        (decided(first=((0, 0, 0), (1, 0))), ["seg: first lane of 1 of 2 ops: op0 1 (was 0)"]),
        (
            decided(variants=((0, 0, 1), (0, 0))),
            ["det: variants of 1 of 3 kernels: op2 6 items by det_2_1 (was 6 items by det_2_0)"],
        ),
        (
            TWO,
            [
                "clusters 2 (was 1)",
                "order of tenants det, seg | det, seg (was det, seg)",
                "issue depth-first | depth-first (was depth-first)",
                "det: lanes by cluster 0-1 | 0-1 (was 0-1)",
                "det: pointers before op1 (was none)",
                "seg: lanes by cluster 0-1 | 0-1 (was 0-1)",
                "seg: pointers before the end (was none)",
            ],
        ),
    ],
)
def test_each_kind_of_decision_has_its_words(after: Schedule, expected: list[str]) -> None:
    assert words(decided(), after) == expected


def test_lane_priorities_of_a_gpu_are_named() -> None:
    on_gpu = Workload(MIX.tenants, "cuda")
    plain, first = decided(), decided(priorities=(0, 1))
    (change,) = decisions(artifact(plain, on_gpu), artifact(first, on_gpu))
    assert change.text == "lane priorities 0, 1 (was none)"
    (change,) = decisions(artifact(first, on_gpu), artifact(decided(priorities=(1,)), on_gpu))
    assert change.text == "lane priorities 1, 0 (was 0, 1)"
    assert decisions(artifact(first, on_gpu), artifact(decided(priorities=(0, 2)), on_gpu)) == (), "ranks are the same"
    assert decisions(artifact(plain, on_gpu), artifact(decided(priorities=(2, 2)), on_gpu)) == (), "all lanes alike"


def test_work_stealing_is_named() -> None:
    (change,) = decisions(artifact(decided()), artifact(decided(steal=True)))
    assert change.text == "work stealing yes (was no)"


def test_lane_shares_of_a_gpu_are_named() -> None:
    on_gpu = Workload(MIX.tenants, "cuda")
    plain, shared = decided(), decided(shares=(5,))
    (change,) = decisions(artifact(plain, on_gpu), artifact(shared, on_gpu))
    assert change.text == "lane shares 5, 0 (was none)"
    (change,) = decisions(artifact(shared, on_gpu), artifact(decided(shares=(0, 8)), on_gpu))
    assert change.text == "lane shares 0, 8 (was 5, 0)"
    assert decisions(artifact(plain, on_gpu), artifact(decided(shares=(0, 0)), on_gpu)) == (), "no lane has any"


def test_many_places_are_one_change_that_names_them_all() -> None:
    (change,) = decisions(artifact(decided()), artifact(decided(chunks=((3, 4, 5), (0, 0)))))
    assert [(place.name, place.before, place.after) for place in change.places] == [
        ("op0", "one a lane", "3"),
        ("op1", "one a lane", "4"),
        ("op2", "one a lane", "5"),
    ]
    row = tuple(f"op{n} 3 (was one a lane)" for n in range(4))
    assert replace(change, places=change.places * 2).text.endswith(" and 3 more")
    assert len(row) > 3


def test_what_has_no_effect_is_no_difference() -> None:
    """Two chunks on two lanes are one a lane; a first lane counts modulo the lanes."""
    assert words(decided(), decided(chunks=((2, 2, 2), (2, 2)), first=((2, 4, 0), (0, 0)))) == []


def test_tenants_are_matched_by_name_and_may_come_and_go() -> None:
    turned = Workload(MIX.tenants[::-1])
    found = decisions(artifact(sequential(MIX, LANES)), artifact(sequential(turned, LANES), turned))
    assert [change.what for change in found] == ["order of tenants"]
    fewer = Workload(MIX.tenants[:1])
    gone = decisions(artifact(sequential(MIX, LANES)), artifact(lane_per_tenant(fewer, 1), fewer))
    assert [(change.tenant, change.what) for change in gone] == [
        ("", "lanes in all"),
        ("", "order of tenants"),
        ("det", "lanes by cluster"),
    ]


def test_other_ops_are_not_compared_one_by_one() -> None:
    other = Workload((chain("det", (4, 6)), MIX.tenants[1]))
    after = replace(sequential(other, LANES), chunks=((4, 4), (4, 0)))
    found = decisions(artifact(), artifact(after, other))
    assert [(change.tenant, change.what) for change in found] == [("seg", "chunks")]


def _other_variants(tenant: Tenant, variants: Any) -> Tenant:
    ops = tuple(Op(o.name, o.kind, (replace(o.kernels[0], variants=variants(o.kernels[0])),)) for o in tenant.ops)
    return replace(tenant, ops=ops)


def test_variants_are_compared_by_function_not_by_their_number() -> None:
    """Selection orders variants by measured times: the same function under another number is the same decision."""
    turned = Workload(tuple(_other_variants(t, lambda kernel: kernel.variants[::-1]) for t in MIX.tenants))
    assert decisions(artifact(), artifact(decided(variants=((1, 1, 1), (1, 1))), turned)) == ()
    assert len(decisions(artifact(), artifact(decided(), turned))) == 2


def test_variants_of_other_code_are_compared_by_their_work_items() -> None:
    def renamed(kernel: Any) -> tuple[Variant, ...]:
        return tuple(Variant(f"new_{v.function}", v.items) for v in kernel.variants)

    def resized(kernel: Any) -> tuple[Variant, ...]:
        return tuple(Variant(f"new_{v.function}", v.items * 2) for v in kernel.variants)

    same = Workload(tuple(_other_variants(t, renamed) for t in MIX.tenants))
    assert decisions(artifact(), artifact(decided(variants=((1, 1, 1), (1, 1))), same)) == ()
    other = Workload((_other_variants(MIX.tenants[0], resized), _other_variants(MIX.tenants[1], renamed)))
    (change,) = decisions(artifact(), artifact(decided(), other))
    assert change.text.startswith("det: variants of 3 of 3 kernels: op0 8 items (was 4 items), ")


def test_functions_are_told_apart_in_full_and_shown_in_short() -> None:
    def hashed(kernel: Any) -> tuple[Variant, ...]:
        return tuple(Variant(f"gt_conv2d_3e1d30a38bce4714535{n}", v.items) for n, v in enumerate(kernel.variants))

    alike = Workload(tuple(_other_variants(t, hashed) for t in MIX.tenants))
    (change,) = decisions(artifact(decided(), alike), artifact(decided(variants=((1, 0, 0), (0, 0))), alike))
    assert change.text == (
        "det: variants of 1 of 3 kernels: op0 4 items by conv2d-3e1d30 (was 4 items by conv2d-3e1d30)"
    )


def test_lanes_and_kernels_in_words() -> None:
    assert [lanes_text(lanes) for lanes in ((0,), (0, 1, 2), (2, 0), (0, 2))] == ["0", "0-2", "2,0", "0,2"]
    first = MIX.tenants[0].ops[0]
    both = replace(MIX.tenants[0], ops=(Op("pair", "conv2d", first.kernels * 2), first))
    assert kernel_names(both) == ["pair/0", "pair/1", "op0"]


def test_a_schedule_that_does_not_fit_its_workload_is_refused() -> None:
    with pytest.raises(UserError, match=r"out: schedule 'best': .*first -1"):
        decisions(artifact(), artifact(decided(first=((-1, 0, 0), (0, 0)))))
    without = replace(artifact(), schedules={"sequential": breadth_first(MIX, LANES)})
    with pytest.raises(UserError, match="no schedule 'best', it has sequential"):
        decisions(without, artifact())


@quick
@given(workloads(), st.integers(1, 3), st.randoms(use_true_random=False))
def test_there_is_a_difference_exactly_where_normal_forms_differ(
    workload: Workload, lanes: int, rng: random.Random
) -> None:
    one = random_schedule(workload, lanes, rng)
    others = [one, random_schedule(workload, lanes, rng)]
    others += [found for found in [next(neighbours(workload, one, rng), None)] if found]
    for other in others:
        found = decisions(artifact(one, workload), artifact(other, workload))
        assert bool(found) == (normal(workload, one) != normal(workload, other))
