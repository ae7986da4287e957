"""Samples from trials, what is remembered of them, and how predictions of them are judged."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gacer_tune.cost_model.features import NAMES
from gacer_tune.errors import UserError
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.learning import evaluation
from gacer_tune.learning.evaluation import evaluate, figures
from gacer_tune.learning.memory import MOST_GROUPS, Memory
from gacer_tune.learning.recording import SUFFIX, Recording, read_recording, write_recording
from gacer_tune.learning.samples import Samples, chosen, noise_of, samples_of
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.store.cache import Cache
from tests.support.workloads import chain, random_profile

MIX = Workload(tuple(chain(f"t{t}", (4, 2, 8, 3), variants=2) for t in range(3)))
PROFILE = random_profile(random.Random(3), MIX, contention=0.2)


def trials(count: int, contention: float = 1.5) -> list[Trial]:
    rng = random.Random(4)
    device = SimulatedDevice(MIX, PROFILE, lanes=2, contention=contention, seed=3, noise=0.01)
    drawn = [random_schedule(MIX, 2, rng) for _ in range(count)]
    return [Trial(s, device.measure(s, 5), "random", number) for number, s in enumerate(drawn)]


TRIALS = trials(120)
SAMPLES = samples_of(MIX, PROFILE, TRIALS, "mix")


def test_each_schedule_is_one_sample_and_failures_are_none() -> None:
    twice = [*TRIALS[:5], replace(TRIALS[0], number=5), Trial(TRIALS[9].schedule, Failure("crash", "x"), "random", 6)]
    found = samples_of(MIX, PROFILE, twice)
    assert len(found) == len({trial.schedule for trial in TRIALS[:5]})
    assert found.features.shape == (len(found), len(NAMES))
    assert (found.name, found.group) == ("t0+t1+t2", MIX.key)


def test_nothing_measured_is_no_samples() -> None:
    assert len(samples_of(MIX, PROFILE, [])) == 0


def test_noise_falls_with_the_runs_and_no_plan_is_trusted_more_than_the_typical_one() -> None:
    steady, usual, shaky = (Timing(tuple(1 + s * d for d in (-1, 0, 1, 0)), ()) for s in (0.0, 0.02, 0.1))
    longer = Timing(usual.seconds * 4, ())
    found = noise_of([steady, usual, usual, shaky, longer])
    assert found[0] == found[1] < found[3]
    assert found[4] == pytest.approx(found[1] / 2, rel=0.1)
    assert noise_of([Timing((1.0,), ())])[0] > 0


def test_of_many_trials_the_fastest_and_some_of_the_others_are_chosen() -> None:
    few = chosen(TRIALS, 20)
    order = sorted(TRIALS, key=lambda trial: trial.result.median_s if isinstance(trial.result, Timing) else math.inf)
    assert few[:10] == order[:10]
    assert 11 < len(few) <= 20
    assert order.index(few[-1]) > 60
    assert len(chosen(TRIALS, 1000)) == len({trial.schedule for trial in TRIALS})


def named(name: str) -> Samples:
    return replace(SAMPLES, name=name, group=name)


def test_what_is_kept_comes_back_and_of_each_workload_only_the_latest(tmp_path: Path) -> None:
    memory = Memory(Cache(tmp_path), "machine", "cpu", 2)
    assert memory.samples() == () and memory.model() is None
    for name in ("a", "b", "a"):
        memory.keep(named(name))
    found = memory.samples()
    assert [samples.name for samples in found] == ["b", "a"]
    assert np.array_equal(found[1].features, SAMPLES.features)
    assert np.array_equal(found[1].noise, SAMPLES.noise)
    model = memory.model()
    assert model is not None and model.samples == 2 * len(SAMPLES)
    assert Memory(Cache(tmp_path), "machine", "cpu", 4).samples() == ()
    assert Memory(Cache(tmp_path), "other", "cpu", 2).model() is None


def test_the_oldest_workloads_are_forgotten(tmp_path: Path) -> None:
    memory = Memory(Cache(tmp_path), "machine", "cpu", 2)
    few = SAMPLES.kept(np.arange(3))
    for number in range(MOST_GROUPS + 2):
        memory.keep(replace(few, name=str(number), group=str(number)))
    assert [samples.name for samples in memory.samples()] == [str(n) for n in range(2, MOST_GROUPS + 2)]


def test_what_cannot_be_read_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(Cache(tmp_path), "machine", "cpu", 2)
    memory.keep(SAMPLES)
    monkeypatch.setattr("gacer_tune.learning.memory.NAMES", NAMES[1:])
    assert memory.samples() == ()
    for entry in Cache(tmp_path).list():
        Cache(tmp_path).put(entry.key, b"no samples", entry.path.suffix)
    assert memory.samples() == () and memory.model() is None


def test_a_recording_survives_its_file_to_the_nanosecond(tmp_path: Path) -> None:
    path = tmp_path / f"mix{SUFFIX}"
    recording = Recording("mix", MIX, PROFILE, tuple(TRIALS[:9]), "here")
    write_recording(path, recording)
    again = read_recording(path)
    assert (again.name, again.machine, again.workload, again.profile) == ("mix", "here", MIX, PROFILE)
    for one, other in zip(again.trials, recording.trials, strict=True):
        assert (one.schedule, one.origin, one.number) == (other.schedule, other.origin, other.number)
        assert isinstance(one.result, Timing) and isinstance(other.result, Timing)
        assert one.result.median_s == pytest.approx(other.result.median_s, abs=2e-9)
    first = path.read_bytes()
    write_recording(path, again)
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"no gzip", b"\x1f\x8b\x08"])
def test_a_file_that_is_no_recording_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"x{SUFFIX}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no recording of trials"):
        read_recording(path)


def test_a_recording_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"mix{SUFFIX}"
    write_recording(path, Recording("mix", MIX, PROFILE, tuple(TRIALS[:2])))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="no recording of trials: cut short"):
        read_recording(path)


def test_figures_by_hand() -> None:
    measured = np.array([1.0, 1.1, 2.0, 4.0])
    right = figures(measured * 3, measured, np.zeros(4))
    assert (right.pairwise, right.near, right.peak1, right.recall, right.kendall) == (1.0,) * 5
    assert right.spearman == pytest.approx(1.0)
    assert right.mape == pytest.approx(2.0)
    wrong = figures(measured[::-1].copy(), measured, np.zeros(4))
    assert (wrong.pairwise, wrong.peak1, wrong.peak5) == (0.0, pytest.approx(0.25), 1.0)
    blurred = figures(np.array([2.0, 1.0, 3.0, 4.0]), measured, np.full(4, 0.04))
    assert blurred.pairwise == 1.0, "the first two differ by less than their noise"


def test_held_out_plans_are_ranked_better_than_by_the_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose contention the timeline does not know; the model must not have seen what it is asked about."""
    (row,) = evaluate([SAMPLES])
    assert row.unseen is None and row.known is not None
    assert row.known.pairwise > row.timeline.pairwise + 0.02
    assert row.known.mape < row.timeline.mape
    seen: list[int] = []
    real = evaluation.fit
    monkeypatch.setattr(evaluation, "fit", lambda samples, seed: seen.append(len(samples)) or real(samples, seed))
    evaluation.held_out_plans(SAMPLES)
    assert sum(seen) == 4 * len(SAMPLES)


def test_a_workload_is_held_out_from_the_model_that_predicts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[set[str]] = []
    real = evaluation.fit
    monkeypatch.setattr(
        evaluation, "fit", lambda samples, seed: groups.append({s.group for s in samples}) or real(samples, seed)
    )
    three = [named("a"), named("b"), named("c")]
    rows = evaluate(three)
    assert [row.unseen is not None for row in rows] == [True] * 3
    assert [group for group in groups if len(group) == 2] == [{"b", "c"}, {"a", "c"}, {"a", "b"}]


def test_plans_with_unsteady_measurements_are_not_asked_about() -> None:
    noise = SAMPLES.noise.copy()
    noise[:7] = 0.5
    (row,) = evaluate([replace(SAMPLES, noise=noise)])
    assert (row.plans, row.left_out) == (len(SAMPLES) - 7, 7)
    with pytest.raises(UserError, match="mix: 0 plans with a steady measurement, at least 2"):
        evaluate([replace(SAMPLES, noise=np.ones(len(SAMPLES)))])
