import math
import random
from collections.abc import Callable
from itertools import count, islice, pairwise
from typing import Any

import pytest

from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Workload
from gacer_tune.search.objective import Objective, ranked
from gacer_tune.search.replay import ReplayDevice
from gacer_tune.search.seeds import BASELINES, baselines
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Failure, Result, Timing, Trial
from gacer_tune.search.tune import FEW, HOPELESS, MORE, STRATEGIES, TuneOptions, tune
from tests.support.workloads import chain, flat_profile, random_profile

MIX = Workload((chain("a", (2, 4, 1), variants=2), chain("b", (4, 3), variants=2)))
PROFILE = random_profile(random.Random(4), MIX)
EXACT = SimulatedDevice(MIX, PROFILE, 2, contention=0.5)


class Recording:
    """Passes on to a device and remembers what was asked; `answer` may replace a result."""

    lanes = 2

    def __init__(self, answer: Callable[[Schedule, Result], Result] = lambda _, result: result) -> None:
        self.asked: list[tuple[Schedule, int]] = []
        self.answer = answer

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Result:
        self.asked.append((schedule, repeats))
        return self.answer(schedule, EXACT.measure(schedule, repeats, give_up_s))

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Any:
        return EXACT.compare(a, b, pairs)

    def close(self) -> None:
        """Nothing to give back."""


def options(trials: int = 20, **changes: Any) -> TuneOptions:
    settled: dict[str, Any] = {"budget_s": 1e9, "trials": trials, "strategy": "random"} | changes
    return TuneOptions(**settled)


def ticking(step_s: float = 1.0) -> Callable[[], float]:
    ticks = count()
    return lambda: next(ticks) * step_s


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_baselines_come_first_then_the_strategy(strategy: str) -> None:
    workload = Workload((chain("a", (2,)), chain("b", (1,))))
    profile = flat_profile(workload, 0.01)
    device = SimulatedDevice(workload, profile, 2)
    trials = list(tune(workload, device, profile, options(12, strategy=strategy)))
    assert [trial.origin for trial in trials[:3]] == list(BASELINES)
    assert [trial.schedule for trial in trials[:3]] == list(baselines(workload, profile, 2).values())
    assert {trial.origin for trial in trials[3:]} == {strategy}
    assert [trial.number for trial in trials] == list(range(12))
    assert len({trial.schedule for trial in trials[3:]}) == 9
    for trial in trials:
        verify(workload, trial.schedule)
        assert isinstance(trial.result, Timing)


def test_contenders_get_more_runs_and_the_hopeless_few() -> None:
    """Further looks go to what came near the best of its time, and its trial holds all runs."""
    device = Recording()
    trials = list(tune(MIX, device, PROFILE, options(40, strategy="coordinate")))
    best, counts = math.inf, set()
    for trial in trials:
        assert isinstance(trial.result, Timing)
        over = trial.result.median_s / best - 1
        looks = 1 + sum(over <= 0.02 * math.sqrt(FEW / runs) for runs in (FEW, FEW + MORE[0]))
        hopeless = 1 if over > 0.2 else sum((FEW, *MORE)[:looks])
        expected = FEW + sum(MORE) if trial.origin in BASELINES else hopeless
        assert len(trial.result.seconds) == expected
        counts.add(len(trial.result.seconds))
        best = min(best, trial.result.median_s)
    assert {1, FEW, FEW + sum(MORE)} <= counts
    looks = [repeats for _, repeats in device.asked]
    assert looks[:3] == [FEW + sum(MORE)] * 3
    assert set(looks[3:]) == {FEW, *MORE}
    assert len(looks) > 3 + 37 == 3 + len({schedule for schedule, _ in device.asked[3:]})


def test_the_more_runs_the_less_is_put_down_to_chance() -> None:
    """2.4 % slower than the best, with a spread of 4 %: three runs leave it open who is faster, six do not."""
    known = baselines(MIX, PROFILE, 2).values()

    def answer(schedule: Schedule, result: Result) -> Result:
        assert isinstance(result, Timing)
        runs = [1.0, 1.0, 1.0] if schedule in known else [1.024, 1.064, 0.984]
        return Timing.of_runs(runs * (len(result.seconds) // 3), [(1.0, 1.0)] * len(result.seconds))

    trials = list(tune(MIX, Recording(answer), PROFILE, options(6)))
    assert [len(t.result.seconds) for t in trials[3:] if isinstance(t.result, Timing)] == [FEW + MORE[0]] * 3


def test_a_contender_that_fails_at_the_second_look_has_failed() -> None:
    seen: set[Schedule] = set()

    def answer(schedule: Schedule, result: Result) -> Result:
        again = schedule in seen
        seen.add(schedule)
        return Failure("crash", "the second time") if again else result

    trials = list(tune(MIX, Recording(answer), PROFILE, options(40, strategy="coordinate")))
    failed = [trial for trial in trials if isinstance(trial.result, Failure)]
    assert failed
    assert all(trial.result == Failure("crash", "the second time") for trial in failed)


def test_the_clock_and_the_budget() -> None:
    """Each trial takes two ticks: one when it is over, one when the budget is looked at."""
    trials = list(tune(MIX, EXACT, PROFILE, options(100, budget_s=20.0), clock=ticking()))
    times = [trial.at_s for trial in trials]
    assert times[:3] == [1.0, 2.0, 3.0]
    assert all(after > before for before, after in pairwise(times))
    assert 3 < len(trials) < 15
    assert times[-1] < 20.0 + 2


def test_baselines_are_measured_whatever_the_budget() -> None:
    assert len(list(tune(MIX, EXACT, PROFILE, options(1), clock=ticking(1e12)))) == 3
    assert len(list(tune(MIX, EXACT, PROFILE, options(100, budget_s=1e-4)))) == 3


@pytest.mark.parametrize(("budget_s", "runs"), [(1.0, FEW), (100.0, 5), (1e4, FEW + sum(MORE))])
def test_baselines_take_no_large_part_of_the_budget(budget_s: float, runs: int) -> None:
    """All kernels on one after the other take 1 s, so 5 % of 100 s are enough for five runs."""
    workload = Workload((chain("a", (1, 1)),))
    profile = flat_profile(workload, 0.5)
    device = Recording(lambda *_: Timing((1.0,), (1.0,)))
    list(tune(workload, device, profile, options(3, budget_s=budget_s)))
    assert [repeats for _, repeats in device.asked] == [runs] * 3


def test_a_history_is_gone_on_with_and_not_measured_again() -> None:
    done = list(tune(MIX, EXACT, PROFILE, options(15)))
    device = Recording()
    more = list(tune(MIX, device, PROFILE, options(25), done))
    assert [trial.number for trial in more] == list(range(15, 25))
    assert not {schedule for schedule, _ in device.asked} & {trial.schedule for trial in done}
    assert more[0].at_s >= done[-1].at_s
    assert {trial.origin for trial in more} == {"random"}
    assert list(tune(MIX, EXACT, PROFILE, options(15), done)) == []


def test_missing_baselines_are_made_up_for() -> None:
    done = list(islice(tune(MIX, EXACT, PROFILE, options(15)), 1))
    assert [trial.origin for trial in tune(MIX, EXACT, PROFILE, options(3), done)] == list(BASELINES[1:])


@pytest.mark.parametrize("strategy", ["random", "coordinate", "evolve"])
def test_equal_seeds_and_results_give_equal_proposals(strategy: str) -> None:
    def run(seed: int) -> list[Trial]:
        return list(tune(MIX, EXACT, PROFILE, options(24, strategy=strategy, seed=seed), clock=ticking()))

    assert run(5) == run(5)
    assert [t.schedule for t in run(5)] != [t.schedule for t in run(6)]


def test_recorded_trials_replay_to_the_same_search() -> None:
    first = list(tune(MIX, EXACT, PROFILE, options(24, strategy="evolve"), clock=ticking()))
    again = tune(MIX, ReplayDevice(first), PROFILE, options(24, strategy="evolve"), clock=ticking())
    assert [trial.schedule for trial in again] == [trial.schedule for trial in first]


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [("random", "timeout"), ("random", "memory"), ("coordinate", "wrong-output"), ("evolve", "crash")],
)
def test_failures_are_recorded_and_the_search_goes_on(strategy: str, kind: Any) -> None:
    def answer(schedule: Schedule, result: Result) -> Result:
        return Failure(kind, "injected") if int(schedule.digest[0], 16) < 6 else result

    trials = list(tune(MIX, Recording(answer), PROFILE, options(40, strategy=strategy)))
    failed = {trial.schedule for trial in trials if isinstance(trial.result, Failure)}
    assert len(trials) == 40
    assert failed == {t.schedule for t in trials if int(t.schedule.digest[0], 16) < 6}
    assert failed
    assert ranked(trials, Objective(MIX))[0][1].schedule not in failed


@pytest.mark.parametrize("seconds", [0.0, math.nan, -1.0, math.inf])
def test_times_that_cannot_be_never_win(seconds: float) -> None:
    def answer(schedule: Schedule, result: Result) -> Result:
        return Timing((seconds,) * 3, (seconds,) * 2) if int(schedule.digest[0], 16) % 2 else result

    trials = list(tune(MIX, Recording(answer), PROFILE, options(30)))
    invalid = [trial.result for trial in trials if isinstance(trial.result, Failure)]
    assert invalid
    assert all(result.kind == "invalid-time" for result in invalid)
    assert 0 < ranked(trials, Objective(MIX))[0][0] < 1


def test_when_everything_fails_the_first_cause_is_told() -> None:
    causes = count()

    device = Recording(lambda *_: Failure("crash", f"signal {next(causes)}"))
    search = tune(MIX, device, PROFILE, options(1000))
    seen: list[Trial] = []
    with pytest.raises(UserError) as caught:
        for trial in search:
            seen.append(trial)
    assert str(caught.value) == f"all {HOPELESS} trials failed, the first (sequential: crash: signal 0)"
    assert len(seen) == HOPELESS, "every trial was handed out before the error"


def test_few_trials_that_all_fail_are_an_error_too() -> None:
    with pytest.raises(UserError, match=r"all 3 trials failed, the first \(sequential: memory: 9 GB\)"):
        list(tune(MIX, Recording(lambda *_: Failure("memory", "9 GB")), PROFILE, options(3)))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"budget_s": 0.0}, "budget 0.0 s: it must be above 0"),
        ({"budget_s": math.nan}, "budget nan s: it must be above 0"),
        ({"trials": 0}, "trials 0: at least 1"),
        ({"strategy": "luck"}, "strategy 'luck': one of evolve, coordinate, random, exhaustive"),
        ({"only": "lateral"}, "only 'lateral': one of spatial, temporal, or nothing for both"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        options(**changes)
    assert str(caught.value) == text


def test_a_profile_of_another_workload_is_refused_before_anything_runs() -> None:
    device = Recording()
    with pytest.raises(ValueError, match="profile: variants by tenant"):
        list(tune(MIX, device, flat_profile(Workload(MIX.tenants[:1])), options()))
    assert device.asked == []


@pytest.mark.parametrize("objective", ["throughput", "slo"])
def test_other_objectives_are_followed(objective: Any) -> None:
    """a is short, b is long and has no objective: both objectives want a done early, makespan does not care."""
    workload = Workload((chain("b", (4, 4, 4, 4)), chain("a", (4,), slo_s=0.011)))
    profile = flat_profile(workload, 0.02)
    device = SimulatedDevice(workload, profile, 2)
    trials = list(tune(workload, device, profile, options(40, strategy="evolve", objective=objective)))
    best = ranked(trials, Objective(workload, objective))[0][1]
    assert isinstance(best.result, Timing)
    assert best.result.tenants_s[1] == pytest.approx(0.01)
    assert best.result.median_s == pytest.approx(0.05)


def test_one_half_of_the_space_inherits_nothing_from_the_other() -> None:
    """After a joint search, a spatial one starts from the baselines again, under a name of its own."""
    joint = list(tune(MIX, EXACT, PROFILE, options(60, strategy="evolve")))
    assert any(len(trial.schedule.clusters) > 1 for trial in joint)
    spatial = list(tune(MIX, EXACT, PROFILE, options(90, strategy="evolve", only="spatial"), joint))
    assert len(spatial) == 30
    assert {trial.origin for trial in spatial} == {"evolve_spatial_only"}
    assert all(len(trial.schedule.clusters) == 1 for trial in spatial)
    temporal = list(tune(MIX, EXACT, PROFILE, options(120, strategy="coordinate", only="temporal"), [*joint, *spatial]))
    starts = {(s.variants, s.chunks) for s in baselines(MIX, PROFILE, 2).values()}
    assert {(trial.schedule.variants, trial.schedule.chunks) for trial in temporal} <= starts
