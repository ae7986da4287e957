from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.front import chosen, front
from gacer_tune.search.trial import Failure, Timing, Trial
from tests.support.workloads import chain, quick

SCHEDULE = sequential(Workload((chain("a", (4,)), chain("b", (4,)))), 2)
Times = tuple[float, ...]


def trials(*times: Times) -> list[Trial]:
    return [Trial(SCHEDULE, Timing((max(row),), row), "evolve", number) for number, row in enumerate(times)]


def times_of(points: tuple[Trial, ...]) -> list[Times]:
    return [point.result.tenants_s for point in points if isinstance(point.result, Timing)]


def beats(one: Times, other: Times) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def test_a_front_by_hand() -> None:
    log = trials((3.0, 3.0), (1.0, 5.0), (2.0, 2.0), (1.0, 6.0), (5.0, 1.0), (2.0, 2.0))
    log.append(Trial(SCHEDULE, Failure("crash", ""), "evolve", 6))
    assert [trial.number for trial in front(log)] == [1, 2, 4], "the earlier of the equal ones"
    assert front([]) == ()


@quick
@given(st.lists(st.tuples(*[st.integers(1, 6).map(float)] * 3), max_size=30))
def test_nothing_beats_the_front_and_everything_else_is_beaten(rows: list[Times]) -> None:
    kept = times_of(front(trials(*rows)))
    assert not any(beats(row, point) for row in rows for point in kept)
    assert all(row in kept or any(beats(point, row) for point in kept) for row in rows)
    assert len(set(kept)) == len(kept)


def test_the_best_of_each_tenant_is_chosen_then_what_lies_apart() -> None:
    """Between (1, 10) and (10, 1): (4, 4) is at least 2.5 times from both, (1.1, 9) is close to the first."""
    points = front(trials((1.0, 10.0), (1.1, 9.0), (4.0, 4.0), (9.0, 1.1), (10.0, 1.0)))
    assert len(points) == 5
    assert times_of(chosen(points, 2)) == [(1.0, 10.0), (10.0, 1.0)]
    assert times_of(chosen(points, 3)) == [(1.0, 10.0), (4.0, 4.0), (10.0, 1.0)]
    assert chosen(points, 9) == points
    assert chosen((), 3) == chosen(points, 0) == ()
