"""The stand-ins for machines: made of recordings here, of a known simulated machine."""

from __future__ import annotations

import random
from math import inf

import pytest

from gacer_tune.cost_model.profile import Profile, refuse_mismatch
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.learning.recording import Recording
from gacer_tune.search.seeds import baselines
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Timing, Trial
from tests.replay.curves import BANDWIDTH, gains, machine
from tests.replay.prove import Course, race
from tests.replay.rooms import ROOMS, room
from tests.replay.surrogate import Surrogate, bent, rank_correlation
from tests.support.workloads import chain, flat_profile, random_profile

MIX = Workload(tuple(chain(name, (1, 4, 2, 8, 3, 2), variants=2) for name in "abc"))
PROFILE = random_profile(random.Random(1), MIX, contention=0.5)
TRUTH = bent(PROFILE, (2.0, 1.0, 1.0))


def recorded(count: int, noise: float = 0.01) -> Recording:
    """What a machine with twice the contention that the profile knows was measured at."""
    device, rng = SimulatedDevice(MIX, TRUTH, 2, noise=noise), random.Random(2)
    schedules = [*baselines(MIX, PROFILE, 2).values(), *(random_schedule(MIX, 2, rng) for _ in range(count))]
    trials = [Trial(s, device.measure(s, 5), "random", n) for n, s in enumerate(dict.fromkeys(schedules))]
    return Recording("toy", MIX, PROFILE, tuple(trials))


def test_a_surrogate_is_like_the_machine_that_was_recorded() -> None:
    device, real = Surrogate(recorded(200)), SimulatedDevice(MIX, TRUTH, 2)
    assert device.truth.shared == TRUTH.shared, "the contention was found"
    rng, errors = random.Random(3), []
    for _ in range(40):
        schedule = random_schedule(MIX, 2, rng)
        expected = real.measure(schedule, 1)
        assert isinstance(expected, Timing)
        errors.append(abs(device.true_s(schedule) / expected.median_s - 1))
    assert max(errors) < 0.08
    assert sum(errors) / len(errors) < 0.02
    plain, surrogate = rank_correlation(recorded(200))
    assert surrogate > 0.97 and surrogate >= plain - 0.01


def test_measurements_are_the_truth_with_the_recorded_noise() -> None:
    device = Surrogate(recorded(60, noise=0.05), seed=1)
    schedule = recorded(60).trials[0].schedule
    timing = device.measure(schedule, 400)
    assert isinstance(timing, Timing)
    assert timing.median_s == pytest.approx(device.true_s(schedule), rel=0.02)
    assert 0.02 < timing.spread < 0.15
    assert device.measure(schedule, 400, give_up_s=0.0) != timing
    hopeless = device.measure(schedule, 9, give_up_s=0.0)
    assert isinstance(hopeless, Timing) and len(hopeless.seconds) == 1
    again = Surrogate(recorded(60, noise=0.05), seed=1)
    assert again.measure(schedule, 400) == timing


def test_evolve_overtakes_the_others_on_a_toy() -> None:
    found = race(Course(Surrogate(recorded(150)), PROFILE, seed=0, trials=80))
    to_random, to_coordinate = found.needed
    assert to_random <= 16 and to_coordinate <= 40
    at_random, coordinate, evolve = found.ends
    assert evolve < coordinate < at_random <= 1.0, "with half of the measurements"


@pytest.mark.parametrize("lanes", [8, 16, 64])
def test_lanes_that_stream_share_the_bandwidth(lanes: int) -> None:
    """All lanes at 10 GB/s: on 8 of them that is twice the 40 GB/s that there are."""
    made = machine(PROFILE, lanes)
    assert made.alone == PROFILE.alone
    slower = made.interference.slowdown(1.0, [1.0] * (lanes - 1))
    assert slower == pytest.approx(lanes * 1e10 / BANDWIDTH[lanes])
    assert made.interference.slowdown(0.0, [1.0] * (lanes - 1)) == 1.0, "it only computes"


@pytest.mark.parametrize(("items", "low", "high"), [(2, 1.9, 2.1), (64, 0.99, 1.1)])
def test_there_is_room_where_cores_idle(items: int, low: float, high: float) -> None:
    """Two tenants on eight lanes: ops of 2 items leave six idle, so both fit side by side; ops of 64 fill them all."""
    pair = Workload(tuple(chain(name, (items,) * 5) for name in "ab"))
    profile = Profile(flat_profile(pair, 1.0).alone, flat_profile(pair, 1.0).shared, 1e-6, 1e-6)
    found = gains(pair, profile, 8, (24, inf))
    assert low < found["sequential"] / found["tuned"] < high


def test_a_room_holds_recorded_tenants_and_knows_the_truth() -> None:
    names, lanes, most = ROOMS["resnet18+squeezenet"]
    device = room("resnet18+squeezenet", seed=1)
    assert [tenant.name for tenant in device.workload.tenants] == list(names)
    assert max(v.items for t in device.workload.tenants for k in t.kernels for v in k.variants) == most
    refuse_mismatch(device.workload, device.profile)
    assert device.lanes == lanes
    schedule = baselines(device.workload, device.profile, lanes)["sequential"]
    timing = device.measure(schedule, 100)
    assert isinstance(timing, Timing)
    assert timing.median_s == pytest.approx(device.true_s(schedule), rel=0.01)
    assert 0.01 < timing.spread < 0.05
