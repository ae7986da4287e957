import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.features import GROUPED, NAMES, TENANTS, Extractor, Vector
from gacer_tune.cost_model.kinds import GROUPS, OTHER, group
from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import Schedule, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from tests.support.workloads import chain, flat_profile, quick, random_profile, random_workload, randoms

TWO = Workload((chain("a", (2, 2)), chain("b", (2,))))


def named(vector: Vector) -> dict[str, float]:
    return dict(zip(NAMES, vector.tolist(), strict=True))


def extracted(workload: Workload, profile: Profile, schedule: Schedule) -> Vector:
    plan, costs = lower(workload, schedule), Costs(workload, profile, schedule.lanes)
    return Extractor(workload, costs).of(plan, simulate(workload, plan, profile, costs))


def of(workload: Workload, schedule: Schedule, seconds: float = 2.0) -> dict[str, float]:
    return named(extracted(workload, flat_profile(workload, seconds), schedule))


@quick
@given(randoms())
def test_as_many_finite_numbers_as_names_and_shares_that_are_shares(rng: random.Random) -> None:
    workload = random_workload(rng, tenants=8)
    profile = random_profile(rng, workload)
    plan = random_schedule(workload, rng.randint(1, 4), rng)
    vector = extracted(workload, profile, plan)
    assert vector.shape == (len(NAMES),)
    assert vector.dtype == np.float64
    assert np.isfinite(vector).all()
    figures = named(vector)
    for name, value in figures.items():
        if name.endswith("_share") or name.startswith(("kind_", "load_")):
            assert -1e-9 <= value <= 1 + 1e-9, name
    if any(tenant.kernels for tenant in workload.tenants):
        for names in (GROUPED["kinds"], GROUPED["character"][:3]):
            assert sum(figures[name] for name in names) == pytest.approx(1.0)


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_figures_of_two_tenants_on_lanes_of_their_own() -> None:
    """a: 0-2 and 2-4 on lane 0; b: 0-2 on lane 1. 1000 flops and 128 bytes a kernel."""
    figures = of(TWO, lane_per_tenant(TWO, 2))
    assert figures["log_stretch"] == pytest.approx(math.log(4 / (6 / 2)))
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
    assert (figures["cluster_imbalance"], figures["critical_handovers"]) == (pytest.approx(1 / 4), 0.0)
    assert (figures["split_share"], figures["remote_share"], figures["extra_work"]) == (0.0, 0.0, 0.0)
    assert (figures["balanced_share"], figures["compute_meets_compute"]) == (1.0, 0.0)
    assert (figures["tenant0_end"], figures["tenant1_end"], figures["tenant2_end"]) == (1.0, 0.5, 0.0)
    assert figures["tenant0_busy"] == pytest.approx(2 / 3)
    assert figures["tenant1_overlapped"] == pytest.approx(1 / 3)


def test_one_tenant_after_the_other_does_not_overlap() -> None:
    figures = of(TWO, sequential(TWO, 2))
    assert figures["tenants_overlap_share"] == pytest.approx(0.0)
    assert figures["all_lanes_share"] == pytest.approx(1.0)
    assert figures["slices_per_kernel"] == 2.0
    assert figures["waits_per_slice"] > 0


def test_who_waits_for_whom_on_the_longest_path() -> None:
    """a's two kernels on lanes 0 and 1 in turn, each waits for the one before: 2 s, a hand-over of 0.5 s, 2 s, ..."""
    workload = Workload((chain("a", (1, 1, 1)),))
    schedule = replace(sequential(workload, 2), first=((0, 1, 0),))
    figures = named(extracted(workload, flat_profile(workload, 2.0, handover_s=0.5), schedule))
    assert figures["critical_handovers"] == pytest.approx(math.log(3))
    assert figures["handover_share"] == pytest.approx(2 * 0.5 / 7)
    assert figures["stalled_share"] == pytest.approx(2 / 3)
    assert figures["stall_longest_share"] == pytest.approx(3 / 7)
    assert figures["remote_share"] == pytest.approx(2 / 3)


def test_cutting_moves_data_between_lanes() -> None:
    """Every kernel is cut in two: half of what it reads was written by the other lane."""
    workload = Workload((chain("a", (2, 2)),))
    profile = Profile((((2.0,), (2.0,)),), (((3.0,), (3.0,)),))
    figures = named(extracted(workload, profile, sequential(workload, 2)))
    assert (figures["split_share"], figures["remote_share"]) == (1.0, pytest.approx(0.5))


def bound(workload: Workload, flops: tuple[int, int]) -> Workload:
    """The first kernels of both tenants with so many operations for their 1000 bytes."""
    tenants = []
    for tenant, count in zip(workload.tenants, flops, strict=True):
        (kernel,) = tenant.ops[0].kernels
        ops = (replace(tenant.ops[0], kernels=(replace(kernel, flops=count, nbytes=1000),)), *tenant.ops[1:])
        tenants.append(replace(tenant, ops=ops))
    return Workload(tuple(tenants))


@pytest.mark.parametrize(
    ("flops", "name"),
    [
        ((1000, 1000), "memory_meets_memory"),
        ((1000, 100_000), "memory_meets_compute"),
        ((100_000, 1000), "memory_meets_compute"),
        ((100_000, 100_000), "compute_meets_compute"),
    ],
)
def test_what_meets_what(flops: tuple[int, int], name: str) -> None:
    workload = bound(Workload((chain("a", (1,)), chain("b", (1,)))), flops)
    figures = of(workload, lane_per_tenant(workload, 2))
    meetings = [key for key in NAMES if "_meets_" in key]
    assert {key: figures[key] for key in meetings} == {key: float(key == name) for key in meetings}


def test_unknown_kinds_are_others() -> None:
    tenant = chain("a", (2,))
    workload = Workload((replace(tenant, ops=(replace(tenant.ops[0], kind="unheard-of"),)),))
    assert of(workload, sequential(workload, 1))["kind_other"] == 1.0


def test_kinds_are_told_by_their_beginning() -> None:
    assert [GROUPS[group(kind)] for kind in ("conv2d", "winograd4", "log_softmax", "layer_norm", "copy")] == [
        *("conv2d", "winograd", "softmax", "norm", "move")
    ]
    assert group("unheard-of") == OTHER


def test_tenants_are_sorted_by_their_work_and_the_last_place_holds_the_rest() -> None:
    workload = Workload(tuple(chain(f"t{number}", (1,) * (1 + number)) for number in range(8)))
    figures = of(workload, sequential(workload, 1))
    assert figures["tenant0_busy"] == pytest.approx(8 / 36)
    assert figures[f"tenant{TENANTS - 1}_busy"] == pytest.approx((1 + 2 + 3 + 4 + 5) / 36)
    assert figures["tenant0_end"] == 1.0
