"""The simulated GPU: figures by hand, bounds that hold for every plan, and a search that gains something on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.cost_model.timeline import Timeline
from gacer_tune.devices.simulated_gpu import GpuStandIn
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import Cluster, Schedule, sequential
from gacer_tune.ir.workload import Kernel, Tenant, Variant, Workload
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda.estimate import resident_blocks
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import ProductTile
from gacer_tune.kernels.rules import Source
from gacer_tune.kernels.tensor import dense
from gacer_tune.search.seeds import BASELINES, baselines
from gacer_tune.search.simulated_gpu import (
    GPU_MODELS,
    GpuModel,
    load_of,
    profile_of,
    simulate_gpu,
    simulated_gpu,
)
from gacer_tune.search.streams import branch_streams, one_stream, stream_per_tenant
from gacer_tune.search.trial import Timing
from gacer_tune.search.tune import TuneOptions, tune
from tests.support.workloads import chain, places, quick, scheduled

# 10 SMs with one block each; a block takes 1 s and what its arithmetic needs at 10 operations a second for all SMs.
TOY = GpuModel("sm_90", 10, {"fp16": 10.0}, 100.0, 1, 0.5, 1.0, 0.25, 0.5, 2.0)


def kernel(items: int, flops: int = 0, nbytes: int = 0) -> Kernel:
    return Kernel((), (Variant("f", items),), flops, nbytes)


def load(made: Kernel, blocks: int, gpu: GpuModel = TOY) -> tuple[float, float]:
    found = load_of(gpu, "fp16", made, made.variants[0], blocks)
    return found.share, found.seconds


def test_loads_by_hand() -> None:
    assert load(kernel(5), 5) == (0.5, 1.0)
    assert load(kernel(10), 10) == (1.0, 1.0)
    assert load(kernel(11), 11) == (1.0, 2.0), "a second wave for one block"
    assert load(kernel(5, flops=5), 5) == (0.5, 2.0), "one operation a block, one a second for each SM"
    assert load(kernel(10, nbytes=1000), 10) == (1.0, 10.0), "1000 bytes at 100 a second"
    assert load(kernel(10, nbytes=1000), 5) == (0.5, 5.0), "half of the SMs are enough for all of the bandwidth"
    assert load(kernel(10, nbytes=1000), 1) == (0.1, 5.0), "a tenth gets a fifth of it"


def test_kernels_that_leave_room_for_others_have_more_slots() -> None:
    """Four blocks of f at a time on each of 10 SMs; each of 40 has a fortieth of the arithmetic."""
    gpu = replace(TOY, resident={"f": 4})
    assert load(kernel(20), 20, gpu) == (0.5, 1.0)
    assert load(kernel(41), 41, gpu) == (1.0, 2.0), "a second wave for one block"
    assert load(kernel(40, flops=40), 40, gpu) == (1.0, 5.0)
    assert load(kernel(40, flops=40), 40) == (1.0, 8.0), "one block at a time: four waves of 1 s and 1 s"


def test_slots_of_a_workload_are_those_of_its_kernels() -> None:
    """128 x 128 in fp16: 256 threads of 128 registers, so 16384 // 4096 = 4 warps a scheduler, 16 // 8 = 2 blocks.

    16 x 32: 12 KiB and 1 KiB of shared memory, 228 // 13 = 17 blocks.
    """
    spec = Conv2d(dense((1, 64, 64, 128), "float16"), dense((1, 64, 64, 256), "float16"), (3, 3), pad=(1, 1))
    tiles = {"large": ProductTile(128, 128, 64), "small": ProductTile(16, 32, 16)}
    found = resident_blocks({name: Source(spec, tile, Gpu()) for name, tile in tiles.items()})
    assert found == {"large": 2, "small": 17}
    model = replace(GPU_MODELS["h100"], resident=found)
    assert [model.slots(name) for name in ("large", "small", "neither")] == [132 * 2, 132 * 17, 132 * 2]


def idle(tenant: Tenant, flops: int = 0) -> Tenant:
    """The tenant with so much arithmetic in each kernel, and no traffic."""
    ops = (replace(op, kernels=tuple(replace(k, flops=flops, nbytes=0) for k in op.kernels)) for op in tenant.ops)
    return replace(tenant, ops=tuple(ops))


def pair(flops: int, items: int) -> Workload:
    """Two tenants of one kernel each."""
    return Workload(tuple(idle(chain(name, (items,)), flops) for name in "ab"), "cuda")


def timeline(workload: Workload, schedule: Schedule) -> Timeline:
    return simulate_gpu(workload, lower(workload, schedule), TOY, "fp16")


def test_small_kernels_run_side_by_side_and_large_ones_share() -> None:
    small, large = pair(0, 5), pair(90, 10)
    assert timeline(small, one_stream(small, 2)).makespan_s == 2.0 + 1.0 + 0.25 + 1.0
    assert timeline(small, stream_per_tenant(small, 2)).makespan_s == 2.0 + 1.0
    assert timeline(large, one_stream(large, 2)).makespan_s == 2.0 + 10 + 0.25 + 10
    assert timeline(large, stream_per_tenant(large, 2)).makespan_s == pytest.approx(2.0 + 20)


def test_what_waits_for_another_stream_pays_for_the_event() -> None:
    workload = Workload((idle(chain("a", (1, 1))),), "cuda")
    apart = replace(sequential(workload, 2), chunks=((1, 1),), first=((0, 1),))
    assert timeline(workload, apart).makespan_s == 2.0 + 1.0 + 0.5 + 1.0
    assert timeline(workload, one_stream(workload, 2)).makespan_s == 2.0 + 1.0 + 0.25 + 1.0


@quick
@given(scheduled())
def test_bounds_of_every_plan(case: tuple[Workload, Schedule]) -> None:
    """In order, never faster than alone, and never more than all SMs at once."""
    workload, schedule = case
    gpu, plan = GPU_MODELS["h100"], lower(workload, schedule)
    found = simulate_gpu(workload, plan, gpu, "fp16")
    area = 0.0
    for (lane, at), piece in places(plan):
        begin, end = found.starts_s[lane][at], found.ends_s[lane][at]
        made = workload.tenants[piece.tenant].kernels[piece.kernel]
        alone = load_of(gpu, "fp16", made, made.variants[piece.variant], piece.hi - piece.lo)
        assert end - begin >= alone.seconds * (1 - 1e-9)
        assert begin >= gpu.graph_s
        assert at == 0 or begin >= found.ends_s[lane][at - 1] + gpu.gap_s - 1e-12
        for wait in piece.waits:
            assert begin >= found.ends_s[wait.lane][wait.count - 1] + gpu.event_s - 1e-12
        area += alone.share * alone.seconds * alone.arithmetic
    assert found.makespan_s * (1 + 1e-9) >= area


@quick
@given(scheduled(), st.integers(1, 8))
def test_profiles_have_every_variant_and_sharing_never_helps(case: tuple[Workload, Schedule], lanes: int) -> None:
    workload = case[0]
    profile = profile_of(workload, GPU_MODELS["a100"], "tf32", lanes)
    for t, tenant in enumerate(workload.tenants):
        for k, made in enumerate(tenant.kernels):
            assert len(profile.alone[t][k]) == len(made.variants)
            assert all(a <= s for a, s in zip(profile.alone[t][k], profile.shared[t][k], strict=True))


def test_baselines_of_a_gpu_leave_kernels_whole() -> None:
    workload = Workload((chain("a", (9, 9)), chain("b", (9,))), "cuda")
    known = baselines(workload, profile_of(workload, TOY, "fp16", 4), 4)
    assert tuple(known) == BASELINES
    for schedule in known.values():
        assert all(piece.lo == 0 and piece.hi == 9 for piece in lower(workload, schedule).slices())
    assert [len(lane) for lane in lower(workload, known["sequential"]).lanes] == [3, 0, 0, 0]
    assert [len(lane) for lane in lower(workload, known["lane_per_tenant"]).lanes] == [2, 1, 0, 0]


def test_branches_of_a_model_get_streams_of_their_own() -> None:
    made = chain("a", (1, 1, 1))
    second = made.ops[2].kernels[0]  # reads what the first op made, beside the second op
    again = replace(second, operands=(replace(second.operands[0], buffer=1), second.operands[1]))
    branchy = replace(made, ops=(*made.ops[:2], replace(made.ops[2], kernels=(again,))))
    workload = Workload((branchy,), "cuda")
    assert branch_streams(workload, 3).first == ((0, 0, 1),)
    assert branch_streams(Workload((made,), "cuda"), 3).first == ((0, 0, 0),)


def test_the_search_beats_the_baselines() -> None:
    """Two long and two short tenants on two streams: one stream for each tenant in turn puts the long ones together."""
    workload = Workload(tuple(chain(n, (60,) * length) for n, length in zip("abcd", (8, 2, 8, 2), strict=True)), "cuda")
    gpu = GPU_MODELS["h100"]
    device = simulated_gpu(workload, gpu, "fp16", 2)
    profile = profile_of(workload, gpu, "fp16", 2)
    trials = list(tune(workload, device, profile, TuneOptions(budget_s=30, trials=24, seed=1)))
    times = {t.origin: t.result.median_s for t in trials[: len(BASELINES)] if isinstance(t.result, Timing)}
    best = min(t.result.median_s for t in trials if isinstance(t.result, Timing))
    assert set(times) == set(BASELINES)
    assert best < 0.8 * min(times.values())


def test_a_stand_in_has_traces_and_no_outputs(tmp_path: object) -> None:
    workload = Workload((chain("a", (4, 4)), chain("b", (4,))), "cuda")
    device = GpuStandIn(simulated_gpu(workload, TOY, "fp16", 2, noise=0.0))
    trace = device.trace(stream_per_tenant(workload, 2))
    assert [(t, k, lane) for t, k, lane, _, _ in trace] == [(0, 0, 0), (0, 1, 0), (1, 0, 1)]
    assert [begin for *_, begin, _ in trace][::2] == [2.0, 2.0]
    assert device.outputs(tmp_path) == 1.0  # type: ignore[arg-type]
    timing = device.measure(stream_per_tenant(workload, 2), 2)
    assert isinstance(timing, Timing)
    assert timing.median_s == max(end for *_, end in trace)


def test_clusters_hold_each_other_back() -> None:
    workload = pair(0, 5)
    base = stream_per_tenant(workload, 2)
    lanes = Cluster(base.clusters[0].lanes, (0, 1))
    cut = replace(base, pointers=((1,), (0,)), clusters=(lanes, lanes))
    assert timeline(workload, cut).makespan_s == 2.0 + 1.0 + 0.5 + 1.0
