"""The cost model on plans of mixes of real models, measured on real machines (made by tests.learning.record).

`data` has plans whose lanes do not steal, `stealing` plans whose lanes do.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gacer_tune.cost_model.kinds import OTHER, group
from gacer_tune.learning.evaluation import Row, evaluate
from gacer_tune.learning.recording import Recording, read_recording
from gacer_tune.learning.samples import Samples, chosen, samples_of
from tests.replay.spaces import mixes

DATA, STEALING = (Path(__file__).parent / name for name in ("data", "stealing"))
MIXES = sorted(mixes(DATA))
PLANS = 80  # of each mix: half are the fastest, the other half is spread over all others


@cache
def recorded(name: str, folder: Path = DATA) -> Recording:
    return read_recording(mixes(folder)[name])


def samples(name: str, folder: Path) -> Samples:
    found = recorded(name, folder)
    return samples_of(found.workload, found.profile, chosen(found.trials, PLANS), name)


@cache
def rows(folder: Path = DATA) -> dict[str, Row]:
    return {row.name: row for row in evaluate([samples(name, folder) for name in mixes(folder)])}


def test_the_data_is_small_and_no_model_is_in_two_mixes() -> None:
    assert len(MIXES) >= 5
    assert sum(path.stat().st_size for folder in (DATA, STEALING) for path in folder.iterdir()) < 3_000_000
    models = [tenant.name for name in MIXES for tenant in recorded(name).workload.tenants]
    assert len(set(models)) == len(models)


@pytest.mark.parametrize("name", MIXES)
def test_no_kind_of_op_is_unknown(name: str) -> None:
    kinds = {op.kind for tenant in recorded(name).workload.tenants for op in tenant.ops}
    assert {kind for kind in kinds if group(kind) == OTHER} == set()


@pytest.mark.parametrize("folder", [DATA, STEALING], ids=lambda folder: folder.name)
@pytest.mark.parametrize("name", MIXES)
def test_held_out_plans_are_put_in_order(name: str, folder: Path) -> None:
    known = rows(folder)[name].known
    assert known is not None
    assert known.pairwise >= 0.9
    assert known.mape < 0.1


@pytest.mark.parametrize("folder", [DATA, STEALING], ids=lambda folder: folder.name)
def test_plans_of_mixes_that_nothing_was_learned_of_are_put_in_order(folder: Path) -> None:
    unseen = [row.unseen for row in rows(folder).values() if row.unseen is not None]
    assert len(unseen) == len(MIXES)
    assert np.mean([figures.pairwise for figures in unseen]) >= 0.9
    assert min(figures.pairwise for figures in unseen) >= 0.75


def test_on_average_the_model_is_better_than_the_timeline() -> None:
    known = [row.known for row in rows().values() if row.known is not None]
    timeline = [row.timeline for row in rows().values()]
    assert np.mean([f.near for f in known]) > np.mean([f.near for f in timeline])
    assert np.mean([f.mape for f in known]) < 0.5 * np.mean([f.mape for f in timeline])
    assert np.mean([f.peak5 for f in known]) > 0.95


def test_what_is_predicted_to_be_fastest_is_nearly_the_fastest() -> None:
    """Of plans that steal, as those are that a search on a CPU proposes."""
    for figures in zip(*((row.timeline, row.known, row.unseen) for row in rows(STEALING).values()), strict=True):
        found = [one for one in figures if one is not None]
        assert len(found) == len(MIXES)
        assert np.mean([one.peak1 for one in found]) >= 0.95
        assert np.mean([one.peak5 for one in found]) >= 0.97
    known = [row.known for row in rows(STEALING).values() if row.known is not None]
    assert np.mean([one.peak5 for one in known]) >= 0.98
