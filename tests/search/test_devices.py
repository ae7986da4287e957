"""What every Device promises, on those that need no hardware; and what each of them adds."""

from collections.abc import Callable

import pytest

from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.device import Device
from gacer_tune.search.replay import ReplayDevice
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Failure, Timing, Trial
from tests.support.workloads import chain, flat_profile

PAIR = Workload((chain("a", (4, 4)), chain("b", (4,))))
PROFILE = flat_profile(PAIR, 0.01, handover_s=1e-4)
GOOD, OTHER, BAD = sequential(PAIR, 2), lane_per_tenant(PAIR, 2), breadth_first(PAIR, 2)
CRASH = Failure("crash", "signal 11")


def simulated() -> Device:
    return SimulatedDevice(PAIR, PROFILE, 2, noise=0.05, seed=1, faults={BAD.digest: CRASH})


def replayed() -> Device:
    device = simulated()
    log = [Trial(s, device.measure(s, 5), "random", number) for number, s in enumerate((GOOD, OTHER, BAD))]
    return ReplayDevice(log)


@pytest.mark.parametrize("make", [simulated, replayed])
class TestEveryDevice:
    def test_measures(self, make: Callable[[], Device]) -> None:
        timing = make().measure(GOOD, 5)
        assert isinstance(timing, Timing)
        assert len(timing.seconds) == 5
        assert len(timing.tenants_s) == 2
        assert all(0 < seconds < 1 for seconds in timing.seconds)
        assert 0 < max(timing.tenants_s) <= max(timing.seconds)

    def test_compares_in_pairs(self, make: Callable[[], Device]) -> None:
        pairs = make().compare(GOOD, OTHER, 7)
        assert not isinstance(pairs, Failure)
        assert len(pairs) == 7
        assert sum(a < b for a, b in pairs) > 4, "sequential takes 3 halves, one lane for a tenant 2 whole kernels"

    def test_reports_failures(self, make: Callable[[], Device]) -> None:
        device = make()
        assert device.measure(BAD, 3) == CRASH
        assert device.compare(GOOD, BAD, 5) == CRASH
        assert device.compare(BAD, GOOD, 5) == CRASH
        assert isinstance(device.measure(GOOD, 3), Timing), "only the guilty schedule fails"

    def test_refuses_what_it_cannot_run(self, make: Callable[[], Device]) -> None:
        result = make().measure(sequential(PAIR, 3), 3)
        assert isinstance(result, Failure)
        assert result.kind == "illegal"

    def test_has_lanes_and_closes(self, make: Callable[[], Device]) -> None:
        device = make()
        assert device.lanes == 2
        device.close()


def test_without_noise_a_simulated_run_takes_its_simulated_time() -> None:
    timing = SimulatedDevice(PAIR, PROFILE, 2).measure(GOOD, 3)
    timeline = simulate(PAIR, lower(PAIR, GOOD), PROFILE)
    assert timing == Timing.of_runs((timeline.makespan_s,) * 3, (timeline.tenants_s,) * 3)


def test_contention_slows_what_runs_beside_others() -> None:
    free, busy = SimulatedDevice(PAIR, PROFILE, 2), SimulatedDevice(PAIR, PROFILE, 2, contention=1.0)
    for schedule, ratio in ((GOOD, 1.1), (sequential(PAIR, 1), 1.0)):
        fast, slow = free.measure(schedule, 1), busy.measure(schedule, 1)
        assert isinstance(fast, Timing)
        assert isinstance(slow, Timing)
        assert ratio * fast.median_s <= slow.median_s <= 2 * fast.median_s
    assert busy.measure(sequential(PAIR, 1), 1) == free.measure(sequential(PAIR, 1), 1)


def test_noise_follows_the_seed() -> None:
    def measured(seed: int) -> object:
        return SimulatedDevice(PAIR, PROFILE, 2, noise=0.1, seed=seed).measure(GOOD, 4)

    assert measured(1) == measured(1)
    assert measured(1) != measured(2)


def test_an_illegal_schedule_is_a_failure_with_its_reason() -> None:
    result = SimulatedDevice(PAIR, PROFILE, 2).measure(sequential(Workload(PAIR.tenants[:1]), 2), 1)
    assert result == Failure("illegal", "pointers: 1 rows, the workload has 2 tenants")


def test_replay_knows_only_what_was_recorded() -> None:
    with pytest.raises(ValueError, match="replay: no trials"):
        ReplayDevice([])
    log = [Trial(GOOD, CRASH, "random", 0), Trial(GOOD, Timing((1.0, 2.0), ()), "random", 1)]
    device = ReplayDevice(log)
    assert device.measure(GOOD, 99) == Timing((1.0, 2.0), ()), "the last result counts"
    assert device.measure(OTHER, 1) == Failure("illegal", f"schedule {OTHER.digest[:12]} was not recorded")
    assert device.compare(GOOD, GOOD, 3) == ((1.0, 1.0), (2.0, 2.0), (1.0, 1.0))
