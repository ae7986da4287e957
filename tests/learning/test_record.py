"""What the recorder does with the fastest plans in the end."""

from __future__ import annotations

import random

import pytest

from gacer_tune.ir.schedule import lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Failure, Timing, Trial
from tests.learning.record import PASSES, timed_longer
from tests.support.workloads import chain, random_profile

MIX = Workload(tuple(chain(name, (2, 4, 8, 3)) for name in "ab"))
DEVICE = SimulatedDevice(MIX, random_profile(random.Random(7), MIX), 2)


def trials(times: float) -> list[Trial]:
    """Two plans that took so many times what they take, and one that failed."""
    found = []
    for number, schedule in enumerate((sequential(MIX, 2), lane_per_tenant(MIX, 2))):
        timing = DEVICE.measure(schedule, 1)
        assert isinstance(timing, Timing)
        found.append(Trial(schedule, Timing((times * timing.median_s,), timing.tenants_s), "random", number))
    return [*found, Trial(sequential(MIX, 1), Failure("crash", "signal 11"), "random", 2)]


def test_lucky_times_are_replaced_by_longer_measurements() -> None:
    lucky = trials(0.97)
    fresh = timed_longer(DEVICE, lucky)
    assert [trial.number for trial in fresh] == [0, 1, 2]
    assert fresh[2] == lucky[2]
    for new, true in zip(fresh[:2], trials(1.0), strict=False):
        assert isinstance(new.result, Timing) and isinstance(true.result, Timing)
        assert len(new.result.seconds) >= PASSES
        assert new.result.median_s == pytest.approx(true.result.median_s)


@pytest.mark.parametrize("times", [0.8, 1.3])
def test_no_times_of_another_state_of_the_machine_are_mixed_in(
    times: float, capsys: pytest.CaptureFixture[str]
) -> None:
    before = trials(times)
    assert timed_longer(DEVICE, before) == before
    assert f"take {1 / times:.2f} times as long as before" in capsys.readouterr().err
