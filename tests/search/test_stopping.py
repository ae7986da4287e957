from itertools import count

import pytest

from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.objective import Objective
from gacer_tune.search.stopping import PATIENCE, STRIDE, stalled
from gacer_tune.search.trial import Failure, Result, Timing, Trial
from tests.support.workloads import chain

ONE = Workload((chain("a", (4,)),))
SCHEDULE = sequential(ONE, 2)
OBJECTIVE = Objective(ONE)


def trials(*results: Result) -> list[Trial]:
    return [Trial(SCHEDULE, result, "evolve", number) for number, result in enumerate(results)]


def timing(seconds: float, spread: float = 0.0) -> Timing:
    """Four runs whose interquartile range is `spread` of the median."""
    return Timing(tuple(seconds * (1 + spread * place) for place in (-1.0, -1 / 3, 1 / 3, 1.0)), (seconds,))


def test_a_search_that_gains_nothing_any_more_is_stalled() -> None:
    log = trials(*(timing(1.0 if n < 50 else 0.8) for n in range(PATIENCE)))
    assert stalled(log, OBJECTIVE) == f"the last {PATIENCE // 2} trials gained 0.0%, within the noise of 0.5%"
    assert stalled(log[:-1], OBJECTIVE) is None, "too early"


def test_a_gain_in_the_second_half_keeps_it_going() -> None:
    results: list[Result] = [timing(1.0)] * (PATIENCE - 1)
    assert stalled(trials(*results, timing(0.99)), OBJECTIVE) is None
    assert stalled(trials(*results, timing(0.996)), OBJECTIVE) is not None, "less than the noise"


def test_the_noise_of_the_best_measurement_counts() -> None:
    """A spread of 12 % over four runs is a standard error of 6 %: a gain of 3 % may be luck, one of 8 % is not."""
    results: list[Result] = [timing(1.0)] * (PATIENCE - 1)
    noisy = timing(0.97, 0.12)
    assert noisy.spread == pytest.approx(0.12)
    assert stalled(trials(*results, noisy), OBJECTIVE) == (
        f"the last {PATIENCE // 2} trials gained 3.1%, within the noise of 6.0%"
    )
    assert stalled(trials(*results, timing(0.92, 0.12)), OBJECTIVE) is None


def test_it_looks_now_and_then_only() -> None:
    results: list[Result] = [timing(1.0)] * (PATIENCE + 3 * STRIDE)
    log = trials(*results)
    looks = [n for n in range(len(log) + 1) if stalled(log[:n], OBJECTIVE)]
    assert looks == [PATIENCE + STRIDE * i for i in range(4)]


def test_failures_say_nothing() -> None:
    crash = Failure("crash", "")
    assert stalled(trials(*[crash] * PATIENCE), OBJECTIVE) is None
    half = PATIENCE // 2
    assert stalled(trials(*[crash] * half, *[timing(1.0)] * half), OBJECTIVE) is None, "the first half found nothing"
    numbers = count()
    mixed = [timing(1.0) if next(numbers) % 2 else crash for _ in range(PATIENCE)]
    assert stalled(trials(*mixed), OBJECTIVE) is not None
