"""What the table of the bound says of machines made of numbers."""

from __future__ import annotations

import pytest

from gacer_tune.cost_model.profile import Profile
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
    name, sequential, gain, left, used = (cell.strip() for cell in made.strip("|").split("|"))
    assert (name, sequential) == ("a+b", "6.00 ms" if items == 1 else "3.00 ms")
    assert float(left) == pytest.approx(room)
    assert float(gain) == pytest.approx(room)
    assert used == ("100%" if items == 1 else "nothing")
