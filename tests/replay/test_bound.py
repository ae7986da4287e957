"""What the table of the bound says of machines made of numbers."""

from __future__ import annotations

import pytest

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.simulated import SimulatedDevice
from tests.replay import bound
from tests.support.workloads import chain, flat_profile

PLAIN = flat_profile(Workload((chain("a", (1, 1, 1)), chain("b", (1, 1, 1)))), 1e-3)


@pytest.mark.parametrize(("items", "room"), [(1, 2.0), (8, 1.0)])
def test_what_cannot_be_cut_leaves_half_of_two_lanes(items: int, room: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ops of one work item keep one lane busy, so that side by side two tenants take half; eight fill both lanes."""
    monkeypatch.setattr(bound, "MOST_TRIALS", 24)
    pair = Workload(tuple(chain(name, (items,) * 3) for name in "ab"))
    profile = Profile(PLAIN.alone, PLAIN.shared)
    made = bound.row("a+b", pair, profile, SimulatedDevice(pair, profile, 2), 1e9)
    name, plain, gain, beside, most = (cell.strip() for cell in made.strip("|").split("|"))
    assert (name, plain) == ("a+b", "6.00 ms" if items == 1 else "3.00 ms")
    assert float(gain) == pytest.approx(room)
    assert float(beside) == pytest.approx(room)
    assert float(most) == pytest.approx(room)


def test_what_is_left_of_the_longest_tenant_takes_what_it_takes_on_both_lanes() -> None:
    """The others are done after 3 of its 9 seconds; the 6 that are left take 5 / 9 of that on two lanes."""
    assert bound.side_by_side_s((2.0, 5.0), (3.0, 9.0)) == pytest.approx(3 + 6 * 5 / 9)
    assert bound.side_by_side_s((1.0, 1.0, 5.0), (1.0, 2.0, 9.0)) == pytest.approx(3 + 6 * 5 / 9)
    assert bound.side_by_side_s((2.0, 2.0, 2.0), (4.0, 3.0, 3.0)) == pytest.approx(5)


def test_shares_are_those_of_the_times_between_the_ends() -> None:
    pair = Workload((chain("a", (1,)), chain("b", (1, 1, 1))))
    profile = flat_profile(pair, 1e-3)
    device = SimulatedDevice(pair, profile, 1)
    assert bound.shares(device, sequential(pair, 1)) == pytest.approx([0.25, 0.75])
