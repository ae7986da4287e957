import math
import random
from dataclasses import dataclass, field, replace

import pytest

from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule, breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.acceptance import Outcome, accept, finalists, interval, p_faster
from gacer_tune.search.afresh import PASSES, RUNS, Effort
from gacer_tune.search.device import Pairs
from gacer_tune.search.duel import ATTEMPTS, LOADED, Surroundings
from gacer_tune.search.objective import Objective
from gacer_tune.search.trial import Failure, Timing, Trial
from tests.support.workloads import chain

PAIR = Workload((chain("a", (4, 4), slo_s=1.0), chain("b", (4,))))
MAKESPAN = Objective(PAIR)
BASES = [sequential(PAIR, 2), lane_per_tenant(PAIR, 2), breadth_first(PAIR, 2)]
FOUND = [replace(BASES[0], chunks=((chunks, 0), (0,))) for chunks in (1, 3, 4)]


@dataclass
class Bench:
    """A machine on which each schedule has a true time; runs are noisy, and drift hits both runs of a pair.

    pairs: what the last comparison comes to."""

    true_s: dict[Schedule, float]
    noise: float = 0.0
    seed: int = 0
    faults: dict[Schedule, Failure] = field(default_factory=dict)
    pairs: Pairs | Failure | None = None
    lanes: int = 2

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.calls: list[str] = []

    def run(self, schedule: Schedule) -> float:
        return self.true_s.get(schedule, 1.0) * math.exp(self.noise * self.rng.gauss(0, 1))

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        assert give_up_s == math.inf, "the last word gets all its runs"
        self.calls.append("measure")
        if schedule in self.faults:
            return self.faults[schedule]
        seconds = tuple(self.run(schedule) for _ in range(repeats))
        return Timing(seconds, (seconds[0] / 2, seconds[0]))

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        self.calls.append("compare")
        if self.pairs is not None and pairs > RUNS:
            return self.pairs
        drifts = [math.exp(5 * self.noise * self.rng.gauss(0, 1)) for _ in range(pairs)]
        return tuple((self.run(a) * drift, self.run(b) * drift) for drift in drifts)

    def close(self) -> None:
        """Nothing to give back."""


def trials(schedules: list[Schedule], *origins: str) -> list[Trial]:
    timing = Timing((1.0,), (1.0, 1.0))
    return [Trial(s, timing, origins[i % len(origins)], i) for i, s in enumerate(schedules)]


BASELINES = trials(BASES, "sequential", "lane_per_tenant", "breadth_first")
CANDIDATES = trials(FOUND, "evolve")


HASTY = Surroundings(pause=lambda _: None)


def judged(bench: Bench, pairs: int = 30, objective: Objective = MAKESPAN) -> Outcome:
    return accept(bench, objective, CANDIDATES, BASELINES, Effort(pairs=pairs), HASTY)


def test_a_machine_that_others_keep_busy_proves_nothing() -> None:
    """Tried again while others use more than LOADED cores, and the baseline stays if they always do."""
    clear = Bench({FOUND[0]: 0.5, BASES[0]: 0.8}, noise=0.01)
    pauses: list[float] = []
    for shares, accepted in (((LOADED + 0.7,) * ATTEMPTS, False), ((1.0, LOADED), True)):
        told = iter([use for share in shares for use in (9.0, share)])
        around = Surroundings(others=lambda told=told: next(told), pause=pauses.append)
        outcome = accept(clear, MAKESPAN, CANDIDATES, BASELINES, Effort(), around)
        assert outcome.accepted is accepted
        assert outcome.refused == ("" if accepted else "other processes or guests of the host kept 1.0 cores busy")
        assert outcome.schedule == (FOUND[0] if accepted else BASES[0])
    assert len(pauses) == ATTEMPTS


def test_a_moment_in_which_the_baseline_is_slow_is_waited_out() -> None:
    """Half of the time something else runs, which slows the baseline down and the candidate not at all."""

    class Shared(Bench):
        def run(self, schedule: Schedule) -> float:
            return super().run(schedule) * (2.0 if schedule in BASES and len(self.calls) % 8 < 4 else 1.0)

    worse = dict.fromkeys(FOUND, 1.1)
    quiet = Surroundings((BASES[0], 1.0), pause=lambda _: None)
    for bench in (Shared(worse, noise=0.01, seed=seed) for seed in range(8)):
        assert not accept(bench, MAKESPAN, CANDIDATES, BASELINES, Effort(), quiet).accepted
    always = Bench({**dict.fromkeys(BASES, 2.0), **worse}, noise=0.01)
    outcome = accept(always, MAKESPAN, CANDIDATES, BASELINES, Effort(), quiet)
    assert (outcome.accepted, outcome.refused) == (False, "the baseline took 2.0 times as long as in quiet moments")


def test_a_clear_winner_is_accepted() -> None:
    bench = Bench({BASES[1]: 0.9, FOUND[2]: 0.8}, noise=0.01)
    outcome = judged(bench)
    assert outcome.accepted
    assert (outcome.schedule, outcome.origin, outcome.baseline) == (FOUND[2], "evolve", "lane_per_tenant")
    assert outcome.speedup == pytest.approx(0.9 / 0.8, rel=0.02)
    assert outcome.p_value < 0.001
    assert outcome.baseline_s / outcome.best_s == pytest.approx(outcome.speedup, rel=0.05)
    assert bench.calls.count("measure") == 6 * PASSES
    assert bench.calls[-18:] == ["compare"] * 18, "with each baseline 30 pairs in blocks of 5"


def test_a_candidate_must_beat_the_best_baseline_not_the_first() -> None:
    outcome = judged(Bench({BASES[2]: 0.7, FOUND[0]: 0.8}, noise=0.01))
    assert not outcome.accepted
    assert (outcome.schedule, outcome.origin) == (BASES[2], "breadth_first")
    assert outcome.speedup == pytest.approx(0.7 / 0.8, rel=0.02)


def test_a_candidate_must_beat_each_baseline_that_may_be_the_best() -> None:
    """One of them is measured in a moment that is bad for it alone, and is the best one all the same."""

    class Unlucky(Bench):
        def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
            found = super().compare(a, b, pairs)
            assert not isinstance(found, Failure)
            slower = 1.15 if b == BASES[1] and pairs == RUNS else 1.0
            return tuple((first, slower * second) for first, second in found)

    for found_s, accepted in ((0.95, False), (0.85, True)):
        outcome = judged(Unlucky({BASES[1]: 0.9, FOUND[0]: found_s}, noise=0.01))
        assert (outcome.accepted, outcome.baseline) == (accepted, "lane_per_tenant")
        assert outcome.schedule == (FOUND[0] if accepted else BASES[1])
        assert outcome.speedup == pytest.approx(0.9 / found_s, rel=0.02)


def test_a_baseline_that_is_far_slower_is_not_compared() -> None:
    bench = Bench({BASES[0]: 1.0, BASES[1]: 1.15, BASES[2]: 1.3, FOUND[0]: 0.8}, noise=0.01)
    assert judged(bench).accepted
    assert bench.calls[-14:] == ["measure"] + ["compare"] * 13


def test_baselines_that_are_one_schedule_are_measured_once_under_the_first_name() -> None:
    same = trials(BASES[:1] * 3, "sequential", "lane_per_tenant", "breadth_first")
    thrice, once = Bench({}), Bench({})
    assert accept(thrice, MAKESPAN, [], same, Effort()).baseline == "sequential"
    accept(once, MAKESPAN, [], same[:1], Effort())
    assert thrice.calls == once.calls


def test_where_nothing_is_better_the_baseline_stays_nineteen_times_of_twenty() -> None:
    """All schedules are equally fast; 200 seeds, at 5 percent each: more than 18 would be a chance of 1 in 100."""
    accepted = sum(judged(Bench({}, noise=0.05, seed=seed), pairs=20).accepted for seed in range(200))
    assert accepted <= 18


def test_a_worse_candidate_is_never_accepted() -> None:
    worse = dict.fromkeys(FOUND, 1.02)
    assert not any(judged(Bench(worse, noise=0.02, seed=seed), pairs=20).accepted for seed in range(100))


def test_a_machine_that_drifts_meanwhile_does_not_choose() -> None:
    """It takes twice as long in two of four measurements; measured once each, two of three candidates would lose."""

    class Drifting(Bench):
        def run(self, schedule: Schedule) -> float:
            return super().run(schedule) * (2.0 if len(self.calls) % 4 < 2 else 1.0)

    for late in FOUND:
        outcome = judged(Drifting({late: 0.8, **{s: 0.9 for s in FOUND if s != late}}, noise=0.005))
        assert (outcome.schedule, outcome.accepted) == (late, True)


def test_a_small_gain_is_seen_through_the_noise() -> None:
    better = dict.fromkeys(FOUND, 0.95)
    accepted = sum(judged(Bench(better, noise=0.04, seed=seed), pairs=30).accepted for seed in range(50))
    assert accepted >= 45


def test_equal_times_are_no_gain() -> None:
    outcome = judged(Bench({}))
    assert not outcome.accepted
    assert (outcome.speedup, outcome.p_value) == (1.0, 1.0)
    assert outcome.reason == "evolve against sequential: 1.000 times as fast, p = 1"


def test_the_sign_of_the_test() -> None:
    assert p_faster(((2.0, 1.0),) * 5) < 0.05
    assert p_faster(((1.0, 2.0),) * 5) > 0.9
    assert p_faster(tuple((1.0 + i / 100, 1.0) for i in range(1, 6))) == pytest.approx(1 / 32)


@pytest.mark.parametrize(
    ("bench", "reason"),
    [
        (Bench({}, faults=dict.fromkeys(FOUND, Failure("crash", "signal 11"))), "evolve: crash: signal 11"),
        (
            Bench({FOUND[0]: 0.1}, pairs=Failure("timeout", "60 s")),
            "the comparison failed: timeout: 60 s",
        ),
        (
            Bench({FOUND[0]: 0.1}, pairs=((1.0, 0.0),) * 20),
            "the comparison failed: invalid-time: a run of 0.0 s, a finite number above 0",
        ),
        (
            Bench({FOUND[0]: 0.1}, pairs=((1.0, math.nan),) * 20),
            "the comparison failed: invalid-time: a run of nan s, a finite number above 0",
        ),
    ],
)
def test_whatever_fails_leaves_the_baseline(bench: Bench, reason: str) -> None:
    outcome = judged(bench)
    assert not outcome.accepted
    assert (outcome.schedule, outcome.origin, outcome.reason) == (BASES[0], "sequential", reason)
    assert (outcome.speedup, outcome.p_value, outcome.baseline_s, outcome.best_s) == (1.0, 1.0, 1.0, 1.0)


def test_without_candidates_the_baseline_is_the_result() -> None:
    outcome = accept(Bench({}), MAKESPAN, [], BASELINES, Effort(pairs=20))
    assert (outcome.accepted, outcome.reason) == (False, "no other schedule was found")
    same = accept(Bench({}), MAKESPAN, trials(BASES[:1], "evolve"), BASELINES, Effort(pairs=20))
    assert same.reason == "no other schedule was found"


def test_a_failing_candidate_leaves_the_others_in() -> None:
    bench = Bench({FOUND[0]: 0.1, FOUND[1]: 0.5}, noise=0.01, faults={FOUND[0]: Failure("wrong-output", "y")})
    assert judged(bench).schedule == FOUND[1]


def test_without_a_baseline_nothing_is_known_to_be_right() -> None:
    broken = Bench({}, faults=dict.fromkeys(BASES, Failure("memory", "9 GB")))
    with pytest.raises(UserError, match="no baseline runs: sequential: memory: 9 GB"):
        judged(broken)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(UserError, match="pairs 4: at least 5, fewer prove nothing"):
        judged(Bench({}), pairs=4)


def test_other_objectives_are_compared_by_their_own_value() -> None:
    """The makespan is equal, but only the candidate meets the slo of tenant a: half of the makespan is above 1 s."""
    bench = Bench({**dict.fromkeys(BASES, 4.0), **dict.fromkeys(FOUND, 2.0)}, noise=0.01)
    outcome = judged(bench, pairs=10, objective=Objective(PAIR, "slo"))
    assert outcome.accepted
    assert outcome.speedup > 4
    assert bench.calls.count("measure") == 6 * PASSES + 3 * 20, "the completions of single runs"
    bench = Bench({FOUND[0]: 0.5}, faults={})
    assert judged(bench, pairs=10, objective=Objective(PAIR, "throughput")).speedup == pytest.approx(2.0)


def test_a_failure_between_the_pairs_leaves_the_baseline() -> None:
    class Dying(Bench):
        def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
            died = self.calls.count("measure") > 6 * PASSES + 6
            return Failure("crash", "late") if died else super().measure(schedule, repeats, give_up_s)

    outcome = judged(Dying({FOUND[0]: 0.5}), objective=Objective(PAIR, "throughput"))
    assert (outcome.accepted, outcome.reason) == (False, "the comparison failed: crash: late")


def test_finalists_are_the_best_that_are_no_baselines() -> None:
    values = [(FOUND[0], 3.0), (FOUND[1], 1.0), (FOUND[0], 2.0), (FOUND[2], 4.0), (BASES[1], 1.5)]
    log = [Trial(s, Timing((v,), (v, v)), "evolve", i) for i, (s, v) in enumerate(values)]
    log += [
        Trial(BASES[0], Timing((0.1,), (0.1, 0.1)), "sequential", 9),
        Trial(FOUND[2], Failure("crash", ""), "x", 10),
    ]
    assert [trial.number for trial in finalists(log, MAKESPAN, count=1)] == [1]
    assert [trial.number for trial in finalists(log, MAKESPAN, count=9)] == [1, 4, 2, 3]


def test_the_interval_by_hand() -> None:
    """Of 30 values the 10th and the 21st: Binomial(30, 1/2) leaves less than 5 % outside."""
    values = [float(n) for n in range(1, 31)]
    assert interval(values[::-1]) == (10.0, 21.0)
    assert interval([1.0, 2.0, 3.0, 4.0, 5.0]) == (1.0, 5.0), "five say little"
    assert interval([2.0]) == (2.0, 2.0)


def test_measuring_the_winner_again_lands_in_its_interval() -> None:
    """At least nine times of ten, with 30 pairs and a true median of 1."""
    inside = 0
    for seed in range(200):
        rng = random.Random(seed)
        low, high = interval([rng.lognormvariate(0.0, 0.1) for _ in range(30)])
        inside += low <= 1.0 <= high
    assert 180 <= inside < 200
