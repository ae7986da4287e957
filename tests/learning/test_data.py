"""The cost model on plans of six mixes of real models, measured on a real machine (made by tests.learning.record)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gacer_tune.cost_model.kinds import OTHER, group
from gacer_tune.learning.evaluation import Row, evaluate
from gacer_tune.learning.recording import SUFFIX, Recording, read_recording
from gacer_tune.learning.samples import Samples, chosen, samples_of

DATA = Path(__file__).parent / "data"
MIXES = sorted(path.name.removesuffix(SUFFIX) for path in DATA.glob(f"*{SUFFIX}"))
PLANS = 80  # of each mix: half are the fastest, the other half is spread over all others


@cache
def recorded(name: str) -> Recording:
    return read_recording(DATA / f"{name}{SUFFIX}")


@cache
def samples(name: str) -> Samples:
    found = recorded(name)
    return samples_of(found.workload, found.profile, chosen(found.trials, PLANS), name)


@cache
def rows() -> dict[str, Row]:
    return {row.name: row for row in evaluate([samples(name) for name in MIXES])}


def test_the_data_is_small_and_no_model_is_in_two_mixes() -> None:
    assert len(MIXES) >= 5
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3_000_000
    models = [tenant.name for name in MIXES for tenant in recorded(name).workload.tenants]
    assert len(set(models)) == len(models)


@pytest.mark.parametrize("name", MIXES)
def test_no_kind_of_op_is_unknown(name: str) -> None:
    kinds = {op.kind for tenant in recorded(name).workload.tenants for op in tenant.ops}
    assert {kind for kind in kinds if group(kind) == OTHER} == set()


@pytest.mark.parametrize("name", MIXES)
def test_held_out_plans_are_put_in_order(name: str) -> None:
    row = rows()[name]
    assert row.known is not None and row.unseen is not None
    assert row.known.pairwise >= 0.9
    assert row.unseen.pairwise >= 0.8
    assert row.known.mape < 0.1


def test_on_average_the_model_is_better_than_the_timeline() -> None:
    known = [row.known for row in rows().values() if row.known is not None]
    timeline = [row.timeline for row in rows().values()]
    assert np.mean([f.near for f in known]) > np.mean([f.near for f in timeline])
    assert np.mean([f.mape for f in known]) < 0.5 * np.mean([f.mape for f in timeline])
    assert np.mean([f.peak5 for f in known]) > 0.95
