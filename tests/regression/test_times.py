"""Slower, or noise? Decided on made-up pairs."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Workload
from gacer_tune.regression.times import Row, Run, require_pairs, rows
from gacer_tune.report.verdict import objective_name
from gacer_tune.search.objective import Objective
from tests.regression.support import MIX, pairs
from tests.support.workloads import quick

NAMES = ("det", "seg")
MAKESPAN = Objective(MIX)


def together(ratio: float, threshold: float = 0.05) -> Row:
    return rows(pairs(ratio), NAMES, MAKESPAN, threshold)[-1]


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.0, "same"), (1.04, "same"), (1.08, "slower"), (2.0, "slower"), (0.97, "same"), (0.9, "faster")],
)
def test_the_band_and_the_test_decide(ratio: float, verdict: str) -> None:
    row = together(ratio)
    assert row.verdict == verdict
    assert row.ratio == pytest.approx(ratio, rel=0.01)
    assert row.low <= row.ratio <= row.high
    assert row.regressed == (verdict == "slower")


def test_the_threshold_is_the_users() -> None:
    assert together(1.08, threshold=0.1).verdict == "same"
    assert together(1.03, threshold=0.01).verdict == "slower"
    assert together(1.03, threshold=0.0).verdict == "slower"


def test_a_large_median_that_chance_explains_is_no_regression() -> None:
    """Half of the pairs say slower, half say faster: the median is off, the test is not convinced."""
    found = tuple((Run(1.0, (1.0, 1.0)), Run(s, (s, s))) for s in (0.5, 0.5, 0.5, 1.3, 1.3, 1.4, 1.5))
    row = rows(found, NAMES, MAKESPAN, 0.05)[-1]
    assert (row.verdict, row.regressed) == ("unclear", False)
    assert row.ratio == 1.3 and row.p_slower > 0.05


def test_rows_in_order_and_medians() -> None:
    found = rows(pairs(1.5, count=9), NAMES, MAKESPAN, 0.05)
    assert [row.name for row in found] == ["det", "seg", "together"]
    assert [row.decides for row in found] == [False, False, True]
    assert found[0].baseline_s == pytest.approx(0.005, rel=0.01)
    assert found[2].seconds == pytest.approx(0.015, rel=0.01)


def test_a_slower_tenant_alone_is_no_regression() -> None:
    found = tuple((Run(1.0, (0.5, 1.0)), Run(1.0, (0.9, 1.0))) for _ in range(8))
    det, _, all_done = rows(found, NAMES, MAKESPAN, 0.05)
    assert (det.verdict, det.regressed, all_done.verdict) == ("slower", False, "same")


def test_a_tenant_without_work_has_no_row() -> None:
    found = tuple((Run(1.0, (0.0, 1.0)), Run(1.0, (0.0, 1.0))) for _ in range(8))
    assert [row.name for row in rows(found, NAMES, MAKESPAN, 0.05)] == ["seg", "together"]


def test_another_objective_has_a_row_that_decides() -> None:
    """The makespan is the same, and yet one tenant comes later: by throughput, that is worse."""
    found = tuple((Run(1.0, (0.3, 1.0)), Run(1.0, (0.6, 1.0))) for _ in range(8))
    *_, makespan, objective = rows(found, NAMES, Objective(MIX, "throughput"), 0.05)
    assert (makespan.verdict, makespan.decides) == ("same", False)
    assert (objective.name, objective.verdict, objective.regressed) == ("objective: throughput", "slower", True)
    assert objective.ratio == pytest.approx((2 / (1 / 0.6 + 1)) / (2 / (1 / 0.3 + 1)))


def test_an_slo_that_is_missed_now() -> None:
    tenants = tuple(replace(tenant, slo_s=0.5) for tenant in MIX.tenants)
    found = tuple((Run(0.5, (0.4, 0.5)), Run(0.51, (0.4, 0.6))) for _ in range(8))
    assert rows(found, NAMES, Objective(Workload(tenants), "slo"), 0.05)[-1].regressed


def test_what_cannot_be_asked() -> None:
    require_pairs(5)
    with pytest.raises(UserError, match="--pairs 4: at least 5, fewer prove nothing"):
        require_pairs(4)
    assert objective_name("throughput") == "throughput"
    with pytest.raises(UserError, match=r"objective 'speed', allowed: makespan, "):
        objective_name("speed")


@quick
@given(st.randoms(use_true_random=False), st.integers(5, 12), st.floats(0.001, 0.5))
def test_exchanging_the_two_exchanges_slower_and_faster(rng: random.Random, count: int, threshold: float) -> None:
    found = [(rng.uniform(1, 1.3), rng.uniform(1, 1.5)) for _ in range(count)]
    turned = {"slower": "faster", "faster": "slower", "same": "same", "unclear": "unclear"}
    there, back = (
        rows([(Run(a, (a, a)), Run(b, (b, b))) for a, b in side], NAMES, MAKESPAN, threshold)[-1]
        for side in (found, [(b, a) for a, b in found])
    )
    assert there.p_slower == pytest.approx(back.p_faster)
    if count % 2:  # the median of an even number is a mean, and the mean of inverses is not the inverse of the mean
        assert back.verdict == turned[there.verdict]
