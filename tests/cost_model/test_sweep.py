import random

import numpy as np
import pytest
from hypothesis import given

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.pieces import Pieces, Tables
from gacer_tune.cost_model.sweep import Sweep
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from tests.support.workloads import quick, random_profile, random_workload, randoms


def test_levels_by_hand() -> None:
    """Figures 1 and 10 for the slice of 0-3, 2 and 20 for the one of 1-2; the third takes no time."""
    sweep = Sweep(np.array([0.0, 1.0, 1.5]), np.array([3.0, 2.0, 1.5]), np.array([[1.0, 10], [2, 20], [99, 99]]))
    assert sweep.spans_s.tolist() == [1, 1, 1]
    assert sweep.levels.tolist() == [[1, 10], [3, 30], [1, 10]]
    assert sweep.mean(sweep.levels[:, 0], 3.0) == pytest.approx(5 / 3)
    assert sweep.peak(sweep.levels[:, 1]) == 30


def test_nothing_runs() -> None:
    sweep = Sweep(np.zeros(1), np.zeros(1), np.ones((1, 2)))
    assert sweep.mean(sweep.levels[:, 0], 1.0) == 0.0
    assert sweep.peak(sweep.levels[:, 0]) == 0.0


@quick
@given(randoms())
def test_columns_agree_with_the_costs_and_the_timeline(rng: random.Random) -> None:
    workload = random_workload(rng)
    profile, lanes = random_profile(rng, workload), rng.randint(1, 4)
    plan, costs = lower(workload, random_schedule(workload, lanes, rng)), Costs(workload, profile, lanes)
    timeline = simulate(workload, plan, profile, costs)
    if not any(plan.lanes):
        return
    pieces, shares = Pieces(Tables(workload, costs, 4), plan, timeline), costs.shares(plan)
    remote = [costs.remote(shares, s.tenant, s.kernel, lane) for lane, row in enumerate(plan.lanes) for s in row]
    assert pieces.remote == pytest.approx(remote, abs=1e-9)
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in remote)
    assert float(pieces.gaps_s.sum() + pieces.seconds.sum()) == pytest.approx(
        sum(row[-1] for row in timeline.ends_s if row)
    )
    assert pieces.imbalance() >= -1e-12
    assert 0 <= pieces.critical_handovers() <= pieces.count
    if lanes == 1:
        assert pieces.critical_handovers() == 0
