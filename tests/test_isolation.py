"""A candidate that crashes, hangs, exhausts memory or gives wrong numbers costs one trial, never the search."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gacer_tune.cost_model.profile import Profile
from gacer_tune.devices.child import ChildDevice, Limits, describe
from gacer_tune.executor import threads
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import sequential
from gacer_tune.search.acceptance import accept, finalists
from gacer_tune.search.afresh import Effort
from gacer_tune.search.objective import Objective
from gacer_tune.search.seeds import BASELINES
from gacer_tune.search.trial import Failure, Timing
from gacer_tune.search.tune import TuneOptions, tune
from gacer_tune.store.tensors import save_weights
from gacer_tune.tenants import functions
from tests.support.compiled import Built, tiny

CPUS = threads.allowed_cpus()[:2]
KINDS = {"crash": "crash", "hang": "timeout", "memory": "memory", "wrong": "wrong-output"}


@pytest.fixture(scope="module")
def built() -> Built:
    return tiny(len(CPUS))


@pytest.fixture(scope="module")
def folder(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare` puts into the child's folder."""
    path = tmp_path_factory.mktemp("child")
    shutil.copyfile(built.module, path / "module.so")
    save_weights(path / "weights.safetensors", built.compiled.weights.items())
    workload = built.compiled.workload
    describe(path, workload, functions(workload))
    return path


@pytest.fixture
def device(folder: Path) -> Iterator[ChildDevice]:
    with ChildDevice(folder, CPUS, Limits(answer_s=2.0)) as device:
        yield device


@pytest.mark.parametrize("fault", KINDS)
def test_one_bad_candidate_is_one_typed_failure(built: Built, device: ChildDevice, fault: str) -> None:
    workload, rng = built.compiled.workload, random.Random(5)
    bad, good = random_schedule(workload, len(CPUS), rng), sequential(workload, len(CPUS))
    device.faults[bad.digest] = fault
    assert isinstance(device.measure(good, 2), Timing)
    failed = device.measure(bad, 2)
    assert isinstance(failed, Failure)
    assert failed.kind == KINDS[fault]
    assert failed.message
    assert isinstance(device.measure(good, 2), Timing), "only the guilty candidate fails"


def test_the_search_goes_on_around_failures(built: Built, device: ChildDevice) -> None:
    workload = built.compiled.workload
    profile = device.profile()
    options = TuneOptions(budget_s=60, trials=24, strategy="random", seed=3)
    clean = list(tune(workload, device, profile, options))
    victims = [trial.schedule.digest for trial in clean if trial.origin not in BASELINES][:6]
    device.faults.update(zip(victims, ["crash", "memory", "wrong"] * 2, strict=True))
    device.close()
    trials = list(tune(workload, device, profile, options))
    failed = [trial for trial in trials if isinstance(trial.result, Failure)]
    assert {trial.schedule.digest for trial in failed} == set(victims)
    objective = Objective(workload)
    reference = [trial for trial in trials if trial.origin in BASELINES]
    outcome = accept(device, objective, finalists(trials, objective), reference, Effort(pairs=10))
    assert outcome.schedule.digest not in victims


def test_outputs_that_differ_are_a_failure(built: Built) -> None:
    """Without injection: the reference is made another one, so that an honest schedule differs from it."""
    workload = built.compiled.workload
    expected, built.bench.expected = built.bench.expected, "0" * 64
    try:
        result = built.bench.measure(sequential(workload, 1), 1)
    finally:
        built.bench.expected = expected
    assert result == Failure("wrong-output", "outputs differ from those of the sequential plan")


def test_profile_times_every_variant(built: Built, device: ChildDevice) -> None:
    profile = device.profile()
    assert isinstance(profile, Profile)
    for t, tenant in enumerate(built.compiled.workload.tenants):
        for k, kernel in enumerate(tenant.kernels):
            assert len(profile.alone[t][k]) == len(kernel.variants)
            assert all(0 < seconds < 1 for seconds in (*profile.alone[t][k], *profile.shared[t][k]))
    assert 0 <= profile.handover_s < 1
