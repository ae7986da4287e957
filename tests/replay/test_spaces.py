"""Searches within spaces of which every schedule was measured. `python -m tests.replay.prove spaces` has 20 seeds."""

from __future__ import annotations

import statistics
from functools import cache
from math import ceil, inf

import pytest

from gacer_tune.ir.verify import verify
from gacer_tune.learning.recording import Recording, read_recording
from gacer_tune.search.exhaustive import Exhaustive
from gacer_tune.search.trial import Timing
from gacer_tune.search.tune import TuneOptions
from tests.replay.races import RecordedSpace, optimum_s, within
from tests.replay.spaces import SPACES, path_of, space_of

SEEDS = 2


@cache
def recording(name: str) -> Recording:
    return read_recording(path_of(name))


def options(name: str, strategy: str, seed: int, share: float) -> TuneOptions:
    trials = ceil(share * len(recording(name).trials))
    return TuneOptions(inf, trials, strategy, seed=seed, only=SPACES[name].only)


@pytest.mark.parametrize("name", SPACES)
def test_every_schedule_was_measured(name: str) -> None:
    found = recording(name)
    everything = Exhaustive(space_of(name, found.workload, found.profile, 2))
    assert {t.schedule for t in found.trials} == set(everything.propose([], len(everything)))
    assert 500 <= len(found.trials) <= 3000
    assert all(isinstance(t.result, Timing) and len(t.result.seconds) >= 3 for t in found.trials)


@pytest.mark.parametrize("name", SPACES)
def test_evolve_finds_nearly_the_best_in_a_twentieth_of_the_space(name: str) -> None:
    best = optimum_s(recording(name))
    found = [best / within(recording(name), options(name, "evolve", seed, 0.05))[-1] for seed in range(SEEDS)]
    assert statistics.median(found) >= 0.98
    assert min(found) >= 0.95


def test_evolve_is_nearer_to_the_best_than_chance() -> None:
    """After 1 % of the space, summed over spaces and seeds: luck alone gets near the best of a small space soon."""
    sums = {"evolve": 0.0, "random": 0.0}
    for name in SPACES:
        for seed in range(SEEDS):
            for strategy in sums:
                end = within(recording(name), options(name, strategy, seed, 0.015))[-1]
                sums[strategy] += end / optimum_s(recording(name))
    assert sums["evolve"] < sums["random"]


@pytest.mark.parametrize("strategy", ["evolve", "coordinate", "random"])
def test_equal_seeds_and_records_give_equal_searches(strategy: str) -> None:
    name = "long_beside_short"
    curves = [within(recording(name), options(name, strategy, seed, 0.02)) for seed in (1, 1, 2)]
    assert curves[0] == curves[1]
    assert curves[0] == sorted(curves[0], reverse=True)
    assert len(curves[0]) == 32


def test_a_recorded_space_is_not_left() -> None:
    name = "perceptron_beside_attention"
    found = recording(name)
    recorded = tuple(t.schedule for t in found.trials)
    space = RecordedSpace(found.workload, 2, recorded[:1], 3, SPACES[name].only, recorded=recorded)
    rng = space.rng([])
    for _ in range(50):
        schedule = space.moved(space.crossed(space.sample(rng), space.sample(rng), rng), rng, 2)
        verify(found.workload, schedule)
        assert schedule in recorded
