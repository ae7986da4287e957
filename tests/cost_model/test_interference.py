import random
from dataclasses import replace

import numpy as np
import pytest

from gacer_tune.cost_model.interference import (
    MIN_PAIRS,
    OWN_CACHE_NBYTES,
    UNIT,
    Interference,
    Pair,
    demand,
    fit_interference,
)
from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import lane_per_tenant
from gacer_tune.ir.workload import Buffer, Workload
from tests.support.workloads import chain


def pairs(truth: Interference, noise: float, seed: int = 0, runs: int = 6) -> list[Pair]:
    """Slices beside one other slice for a part of their time, slowed down as `truth` says, times noise."""
    rng, found = random.Random(seed), []
    for run in range(runs):
        for _ in range(40):
            alone_s, own, other, share = rng.uniform(1e-5, 1e-3), rng.random(), rng.random(), rng.random()
            slowdown = 1 + share * (truth.slowdown(own, [other]) - 1)
            found.append(
                Pair(run, alone_s, alone_s * slowdown * rng.lognormvariate(0, noise), own, share, share * other)
            )
    return found


@pytest.mark.parametrize("truth", [Interference(0.1, 0.8), Interference(0.0, 0.5), Interference(0.2, 0.0)])
def test_what_was_measured_is_found_again(truth: Interference) -> None:
    found = fit_interference(pairs(truth, 0.01))
    assert found.busy == pytest.approx(truth.busy, abs=0.01)
    assert found.stream == pytest.approx(truth.stream, abs=0.03)
    assert found.pairs == 240
    assert found.error < 0.02 < found.plain_error


def test_noise_is_no_interference() -> None:
    """Nothing slows down: what the fit makes of the noise does not help on runs that it has not seen."""
    for seed in range(5):
        found = fit_interference(pairs(Interference(), 0.1, seed))
        assert found.busy < 0.02 and found.stream < 0.05
        assert found.error <= found.plain_error
        assert found.pairs == 240


def test_an_interrupted_slice_tells_little() -> None:
    many = pairs(Interference(0.0, 0.5), 0.01)
    hit = [
        replaced._replace(beside_s=100 * replaced.beside_s) if n == 7 else replaced for n, replaced in enumerate(many)
    ]
    assert fit_interference(hit).stream == pytest.approx(fit_interference(many).stream, abs=0.1)


def test_too_few_pairs_are_no_measurement() -> None:
    many = pairs(Interference(0.1, 0.8), 0.01)
    assert fit_interference(many[: MIN_PAIRS - 1]) == Interference()
    assert fit_interference([pair for pair in many if pair.run == 0]) == Interference(), "nothing to hold out"


def test_slowdown_by_hand() -> None:
    measured = Interference(busy=0.1, stream=0.5)
    assert measured.slowdown(2.0, []) == 1.0
    assert measured.slowdown(2.0, [0.0]) == pytest.approx(1.1)
    assert measured.slowdown(2.0, [0.5, 1.0]) == pytest.approx(1 + 0.2 + 0.5 * 2.0 * 1.5)
    with pytest.raises(ValueError, match="interference: stream: -1, a finite number not below 0"):
        Interference(stream=-1)


def test_demand_counts_weights_and_what_leaves_the_own_cache() -> None:
    tenant = chain("a", (2,))
    (kernel,) = tenant.kernels
    small = replace(tenant, buffers=(Buffer("x", 1000, "input"), Buffer("y", 1000, "output")))
    heavy = replace(tenant, buffers=(Buffer("w", 1000, "weight"), Buffer("y", 1000, "output")))
    large = replace(tenant, buffers=(Buffer("x", 2 * OWN_CACHE_NBYTES, "input"), Buffer("y", 1000, "output")))
    busy = replace(kernel, nbytes=1 << 30)
    assert demand(small, busy, 1.0) == 0.0
    assert demand(heavy, busy, 1e-6) == pytest.approx(1000 / 1e-6 / UNIT)
    assert demand(large, busy, 1.0) == pytest.approx(2 * OWN_CACHE_NBYTES / UNIT)
    assert demand(large, replace(kernel, nbytes=100), 1.0) == pytest.approx(100 / UNIT)
    assert demand(large, busy, 0.0) == 0.0


def streaming() -> tuple[Workload, Profile]:
    """Two tenants of one kernel of 1 s each; both stream 10 GB of weights, so each has a demand of 1."""
    tenants = []
    for name in "ab":
        tenant = chain(name, (1,))
        buffers = (Buffer("x", int(1e10), "weight", name), *tenant.buffers[1:])
        (kernel,) = tenant.kernels
        op = replace(tenant.ops[0], kernels=(replace(kernel, nbytes=int(1e10)),))
        tenants.append(replace(tenant, buffers=buffers, ops=(op,)))
    rows = (((1.0,),), ((1.0,),))
    return Workload(tuple(tenants)), Profile(rows, rows)


def test_measured_interference_slows_the_timeline() -> None:
    """0.1 for any neighbour and 0.4 for one that streams: 1.5 s together. A tenant of 2 s: 1 s of it left alone."""
    workload, profile = streaming()
    measured = replace(profile, interference=Interference(0.1, 0.4, pairs=100))
    plan = lower(workload, lane_per_tenant(workload, 2))
    assert simulate(workload, plan, measured).ends_s == (pytest.approx((1.5,)), pytest.approx((1.5,)))
    longer = replace(measured, alone=(((1.0,),), ((2.0,),)), shared=(((1.0,),), ((2.0,),)))
    ends = simulate(workload, plan, longer).ends_s
    slower = 1 + 0.1 + 0.4 * 1.0 * 0.5  # half the demand: as many bytes in twice the time
    assert ends[0] == pytest.approx((slower,))
    assert ends[1] == pytest.approx((slower + 1.0,))


def test_a_profile_with_interference_survives_json_and_older_ones_have_none() -> None:
    _, profile = streaming()
    measured = replace(profile, interference=Interference(0.1, 0.4, 0.02, 0.05, 100))
    assert Profile.from_json(measured.to_json()) == measured
    older = {key: value for key, value in measured.to_json().items() if key != "interference"}
    assert Profile.from_json(older | {"format": 1}) == profile
    with pytest.raises(KeyError):
        Profile.from_json(older)


def test_a_slice_pays_for_what_other_lanes_have_written() -> None:
    """Whole kernels of 2 s, 3 s where half of the input is remote: so 4 s where all of it is, and none at home."""
    workload = Workload((chain("a", (2, 2)),))
    rows = (((2.0,), (2.0,)),)
    profile = Profile(rows, (((3.0,), (3.0,)),), interference=Interference(pairs=1))
    base = replace(lane_per_tenant(workload, 2), chunks=((1, 1),))
    there = simulate(workload, lower(workload, replace(base, first=((0, 1),))), profile)
    home = simulate(workload, lower(workload, replace(base, first=((0, 0),))), profile)
    cut = simulate(workload, lower(workload, replace(base, chunks=((0, 0),))), profile)
    assert home.makespan_s == pytest.approx(2 + 2)
    assert there.makespan_s == pytest.approx(2 + 4)
    assert cut.makespan_s == pytest.approx(3 / 2 + 3 / 2)
    assert np.isclose(sum(cut.busy_s), 6.0)
