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


def test_a_tenant_takes_from_the_end_of_the_one_before_to_its_own() -> None:
    pair = Workload((chain("a", (1,)), chain("b", (1, 1, 1))))
    profile = flat_profile(pair, 1e-3)
    device = SimulatedDevice(pair, profile, 1)
    assert bound.tenants_s(device, sequential(pair, 1), 8.0) == pytest.approx([2.0, 6.0])


def test_side_by_side_is_told_for_two_lanes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "MOST_TRIALS", 4)
    pair = Workload(tuple(chain(name, (4,) * 3) for name in "ab"))
    made = bound.row("a+b", pair, PLAIN, SimulatedDevice(pair, PLAIN, 4), 1e9)
    assert [cell.strip() for cell in made.split("|")][4:6] == ["not two lanes", "1.000"]
