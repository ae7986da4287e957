"""What every strategy promises, and what each of them is good for. All devices are simulated."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from gacer_tune.cost_model.profile import Profile
from gacer_tune.errors import UserError
from gacer_tune.ir.neighbours import Only, neighbours
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Workload
from gacer_tune.search.coordinate import CoordinateDescent
from gacer_tune.search.evolve import Evolve
from gacer_tune.search.exhaustive import Exhaustive
from gacer_tune.search.objective import Objective, best_so_far, ranked
from gacer_tune.search.ranking import Ranker
from gacer_tune.search.seeds import baselines, seeds
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.strategy import RandomSearch, Space, Strategy
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from tests.support.workloads import chain, random_profile

TOY = Workload((chain("a", (2, 1)), chain("b", (1,))))
SMALL = Workload((chain("a", (1, 4, 2), variants=2), chain("b", (3, 1), variants=2)))
MIX = Workload(tuple(chain(name, (1, 4, 2, 8, 3), variants=2) for name in "abc"))


def space(workload: Workload, profile: Profile, only: Only | None = None, seed: int = 0) -> Space:
    return Space(workload, 2, tuple(baselines(workload, profile, 2).values()), seed, only)


def strategies(workload: Workload, only: Only | None = None, seed: int = 0) -> list[Strategy]:
    profile = random_profile(random.Random(0), workload)
    where, objective = space(workload, profile, only, seed), Objective(workload)
    return [
        RandomSearch(where),
        CoordinateDescent(where, objective),
        Evolve(where, Ranker(workload, profile, objective, seed), seeds(workload, profile, 2)),
    ]


def made_up(schedules: Sequence[Schedule]) -> list[Trial]:
    """A history in which every fifth schedule crashed."""
    return [
        Trial(s, Failure("crash", "x") if i % 5 == 0 else Timing((1.0 + i / 100,), (1.0,) * 3), "random", i)
        for i, s in enumerate(schedules)
    ]


@pytest.mark.parametrize("number", [0, 1, 2], ids=["random", "coordinate", "evolve"])
class TestEveryStrategy:
    @pytest.mark.parametrize("length", [0, 3, 30])
    def test_proposals_are_legal_new_and_follow_from_the_history(self, number: int, length: int) -> None:
        starts = strategies(MIX)[number]
        history: list[Trial] = []
        while len(history) < length:
            history = made_up([*(t.schedule for t in history), *starts.propose(history, 10)])[:length]
        proposed = starts.propose(history, 8)
        assert len(set(proposed)) == 8
        assert not {trial.schedule for trial in history} & set(proposed)
        for schedule in proposed:
            verify(MIX, schedule)
        assert strategies(MIX)[number].propose(history, 8) == proposed
        assert strategies(MIX, seed=1)[number].propose(history, 8) != proposed

    def test_a_small_space_comes_to_its_end(self, number: int) -> None:
        single = Workload((chain("a", (1,), variants=2),))
        strategy = strategies(single)[number]
        history: list[Trial] = []
        while proposed := strategy.propose(history, 8):
            history = made_up([*(trial.schedule for trial in history), *proposed])
            assert len(history) < 200
        assert 2 <= len(history) == len({trial.schedule for trial in history})

    def test_where_there_is_no_choice_nothing_is_proposed(self, number: int) -> None:
        nothing = Workload((chain("a", ()),))
        start = baselines(nothing, random_profile(random.Random(0), nothing), 2)["sequential"]
        failed = [Trial(start, Failure("crash", ""), "sequential", 0)]
        assert strategies(nothing)[number].propose(failed, 8) == []

    def test_only_temporal_leaves_variants_and_chunks_alone(self, number: int) -> None:
        starts = strategies(MIX, "temporal")[number]
        profile = random_profile(random.Random(0), MIX)
        kept = {(s.variants, s.chunks) for s in baselines(MIX, profile, 2).values()}
        if number == 2:
            starts = Evolve(space(MIX, profile, "temporal"), Ranker(MIX, profile, Objective(MIX)), ())
        assert {(s.variants, s.chunks) for s in starts.propose([], 8)} <= kept

    def test_only_spatial_has_no_pointers(self, number: int) -> None:
        profile = random_profile(random.Random(0), MIX)
        starts = strategies(MIX, "spatial")[number]
        if number == 2:
            starts = Evolve(space(MIX, profile, "spatial"), Ranker(MIX, profile, Objective(MIX)), ())
        assert all(len(s.clusters) == 1 for s in starts.propose([], 8))


def test_coordinate_descent_goes_on_from_the_best() -> None:
    profile = random_profile(random.Random(0), MIX)
    where = space(MIX, profile)
    drawn = RandomSearch(where).propose([], 3)
    history = [
        Trial(s, Timing((value,), (value,) * 3), "random", i)
        for i, (s, value) in enumerate(zip(drawn, (3.0, 1.0, 2.0), strict=True))
    ]
    reachable = set()
    for schedule, _ in zip(neighbours(MIX, drawn[1], random.Random(1)), range(5000), strict=False):
        reachable.add(schedule)
    proposed = CoordinateDescent(where, Objective(MIX)).propose(history, 8)
    assert sum(schedule in reachable for schedule in proposed) >= 6


def test_evolve_prefers_what_the_timeline_likes() -> None:
    profile = random_profile(random.Random(1), MIX)
    ranker = Ranker(MIX, profile, Objective(MIX))
    proposed = Evolve(space(MIX, profile), ranker, seeds(MIX, profile, 2)).propose([], 8)
    at_random = RandomSearch(space(MIX, profile)).propose([], 8)
    best = [forecast.value for forecast in ranker.rank(proposed, [])]
    others = [forecast.value for forecast in ranker.rank(at_random, [])]
    assert max(best[:7]) < min(others)


def test_the_ranker_learns_what_the_timeline_does_not_know() -> None:
    """Measured times are the opposite of the simulated ones: after enough trials the forecasts turn round."""
    profile = random_profile(random.Random(2), MIX)
    ranker = Ranker(MIX, profile, Objective(MIX))
    drawn = RandomSearch(space(MIX, profile)).propose([], 60)
    order = sorted(drawn, key=lambda s: ranker.estimate(s).makespan_s)
    assert [forecast.schedule for forecast in ranker.rank(drawn, [])] == order
    history = [
        Trial(s, Timing((1e-4 / ranker.estimate(s).makespan_s,), (0.0,) * 3), "random", i) for i, s in enumerate(drawn)
    ]
    assert not ranker.model(history[:15]).members
    forecasts = ranker.rank(drawn, history)
    place = {forecast.schedule: number for number, forecast in enumerate(forecasts)}
    assert sum(place[s] for s in order[:20]) > sum(place[s] for s in order[-20:])


def test_failures_are_not_learned() -> None:
    profile = random_profile(random.Random(2), MIX)
    ranker = Ranker(MIX, profile, Objective(MIX))
    drawn = RandomSearch(space(MIX, profile)).propose([], 40)
    failed = [Trial(s, Failure("timeout", ""), "random", i) for i, s in enumerate(drawn)]
    assert not ranker.model(failed).members
    some = [Trial(t.schedule, Timing((1.0,), (1.0,) * 3), "random", t.number) if t.number % 2 else t for t in failed]
    assert ranker.model(some).samples == 16, "of 20 that ran: fitted again after every 25 percent"


def test_all_schedules_of_a_toy_are_enumerated_once() -> None:
    profile = random_profile(random.Random(0), TOY)
    everything = Exhaustive(space(TOY, profile))
    first = everything.propose([], 100)
    rest = everything.propose(made_up(first), len(everything))
    assert len(first) == 100
    assert len({*first, *rest}) == len(first) + len(rest) == len(everything)
    assert set(baselines(TOY, profile, 2).values()) <= {*first, *rest}
    assert everything.propose(made_up([*first, *rest]), 5) == []


def test_a_space_that_is_too_large_is_refused() -> None:
    profile = random_profile(random.Random(0), MIX)
    with pytest.raises(UserError, match=r"strategy exhaustive: more than 30000 schedules; evolve searches"):
        Exhaustive(space(MIX, profile))


def optimum(workload: Workload, profile: Profile, only: Only | None = None) -> float:
    ranker = Ranker(workload, profile, Objective(workload))
    everything = Exhaustive(space(workload, profile, only))
    return min(ranker.estimate(s).makespan_s for s in everything.propose([], len(everything)))


def tuned(workload: Workload, profile: Profile, trials: int, contention: float = 0.0, **options: Any) -> list[Trial]:
    device = SimulatedDevice(workload, profile, 2, seed=options.get("seed", 0), contention=contention)
    return list(tune(workload, device, profile, TuneOptions(budget_s=1e9, trials=trials, **options)))


def best(trials: list[Trial], workload: Workload) -> float:
    return ranked(trials, Objective(workload))[0][0]


def test_joint_search_is_at_least_as_good_as_each_half_and_each_half_as_none() -> None:
    """G6 by brute force: the joint optimum <= the spatial and the temporal one <= the best baseline."""
    for seed in (1, 2):
        profile = random_profile(random.Random(seed), TOY)
        ranker = Ranker(TOY, profile, Objective(TOY))
        none = min(ranker.estimate(s).makespan_s for s in baselines(TOY, profile, 2).values())
        spatial, temporal = optimum(TOY, profile, "spatial"), optimum(TOY, profile, "temporal")
        assert optimum(TOY, profile) <= min(spatial, temporal)
        assert max(spatial, temporal) <= none


@pytest.mark.parametrize("seed", [1, 2])
def test_evolve_finds_the_optimum_of_a_toy(seed: int) -> None:
    profile = random_profile(random.Random(seed), TOY)
    assert best(tuned(TOY, profile, 80, seed=seed), TOY) <= optimum(TOY, profile) * (1 + 1e-9)


def test_at_equal_budget_evolve_and_coordinate_beat_random() -> None:
    """On workloads whose contention the profile does not know; most seeds, and evolve also in sum."""
    found: dict[str, list[float]] = {"random": [], "coordinate": [], "evolve": []}
    for seed in range(4):
        profile = random_profile(random.Random(seed), MIX, contention=0.2)
        for strategy, values in found.items():
            trials = tuned(MIX, profile, 36, seed=seed, strategy=strategy, contention=1.0)
            assert len(trials) == 36
            values.append(best(trials, MIX))
    pairs = list(zip(found["random"], found["coordinate"], found["evolve"], strict=True))
    assert sum(coordinate <= at_random for at_random, coordinate, _ in pairs) >= 3
    assert sum(evolve <= at_random for at_random, _, evolve in pairs) >= 3
    assert sum(found["evolve"]) < 0.99 * sum(found["random"])


def test_joint_search_beats_its_halves_on_most_seeds() -> None:
    wins = 0
    for seed in range(3):
        profile = random_profile(random.Random(10 + seed), SMALL, contention=0.2)
        joint, spatial, temporal = (
            best(tuned(SMALL, profile, 32, seed=seed, only=only), SMALL) for only in (None, "spatial", "temporal")
        )
        wins += joint <= min(spatial, temporal) * 1.01
    assert wins >= 2


def test_the_best_so_far_never_rises() -> None:
    profile = random_profile(random.Random(3), MIX)
    trials = tuned(MIX, profile, 30, strategy="coordinate", contention=1.0)
    curve = [value for _, value in best_so_far(trials, Objective(MIX))]
    assert len(curve) == 30
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] < curve[2], "better than the baselines"
    assert curve[-1] == best(trials, MIX)
