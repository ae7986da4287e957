import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from gacer_tune.cost_model.features import KINDS, NAMES, Vector, features
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import Schedule, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from tests.support.workloads import chain, flat_profile, quick, random_profile, random_workload, randoms

TWO = Workload((chain("a", (2, 2)), chain("b", (2,))))


def named(vector: Vector) -> dict[str, float]:
    return dict(zip(NAMES, vector.tolist(), strict=True))


def of(workload: Workload, schedule: Schedule, seconds: float = 2.0) -> dict[str, float]:
    plan = lower(workload, schedule)
    return named(features(workload, plan, simulate(workload, plan, flat_profile(workload, seconds))))


@quick
@given(randoms())
def test_as_many_finite_numbers_as_names_and_shares_that_are_shares(rng: random.Random) -> None:
    workload = random_workload(rng, tenants=8)
    profile = random_profile(rng, workload)
    plan = lower(workload, random_schedule(workload, rng.randint(1, 4), rng))
    vector = features(workload, plan, simulate(workload, plan, profile))
    assert vector.shape == (len(NAMES),)
    assert vector.dtype == np.float64
    assert np.isfinite(vector).all()
    figures = named(vector)
    for name, value in figures.items():
        if name.endswith("_share") or name.startswith(("kind_", "load_")):
            assert -1e-9 <= value <= 1 + 1e-9, name
    if any(plan.lanes):
        assert sum(figures[f"kind_{kind}"] for kind in KINDS) == pytest.approx(1.0)


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_figures_of_two_tenants_on_lanes_of_their_own() -> None:
    """a: 0-2 and 2-4 on lane 0; b: 0-2 on lane 1. 1000 flops and 128 bytes a kernel."""
    figures = of(TWO, lane_per_tenant(TWO, 2))
    assert figures["log_makespan"] == pytest.approx(math.log(4))
    assert figures["residue_share"] == pytest.approx(0.25)
    assert (figures["load_least"], figures["load_most"]) == (0.5, 1.0)
    assert (figures["one_lane_share"], figures["all_lanes_share"], figures["idle_share"]) == (0.5, 0.5, 0.0)
    assert figures["lanes_mean"] == 1.5
    assert figures["tenants_overlap_share"] == 0.5
    assert figures["log_bandwidth_peak"] == pytest.approx(math.log(2 * 128 / 2))
    assert figures["log_bandwidth_mean"] == pytest.approx(math.log(3 * 128 / 4))
    assert figures["log_footprint_peak"] == pytest.approx(math.log(256))
    assert figures["log_flops_rate"] == pytest.approx(math.log(3000 / 4))
    assert (figures["kind_conv2d"], figures["waits_per_slice"], figures["slices_per_kernel"]) == (1.0, 0.0, 1.0)
    assert (figures["tenant0_end"], figures["tenant1_end"], figures["tenant2_end"]) == (1.0, 0.5, 0.0)
    assert figures["tenant0_busy"] == pytest.approx(2 / 3)
    assert figures["tenant1_overlapped"] == pytest.approx(1 / 3)


def test_one_tenant_after_the_other_does_not_overlap() -> None:
    figures = of(TWO, sequential(TWO, 2))
    assert figures["tenants_overlap_share"] == pytest.approx(0.0)
    assert figures["all_lanes_share"] == pytest.approx(1.0)
    assert figures["slices_per_kernel"] == 2.0
    assert figures["waits_per_slice"] > 0


def test_unknown_kinds_are_others() -> None:
    tenant = chain("a", (2,))
    workload = Workload((replace(tenant, ops=(replace(tenant.ops[0], kind="unheard-of"),)),))
    assert of(workload, sequential(workload, 1))["kind_other"] == 1.0


def test_tenants_beyond_the_sixth_are_counted_with_it() -> None:
    workload = Workload(tuple(chain(f"t{number}", (1,)) for number in range(8)))
    figures = of(workload, sequential(workload, 1))
    assert figures["tenant4_busy"] == pytest.approx(1 / 8)
    assert figures["tenant5_busy"] == pytest.approx(3 / 8)
    assert figures["tenant5_end"] == 1.0
