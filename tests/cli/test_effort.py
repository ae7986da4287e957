"""What the summary of a run says about the time before the search."""

from __future__ import annotations

from gacer_tune.cli.effort import Effort
from gacer_tune.events import Event, Stage


def told(*events: tuple[float, Stage, int, int]) -> tuple[Effort, list[Event]]:
    """The effort after events (seconds since the start, stage, done, total), and what it passed on."""
    now_s, passed = 5.0, []

    def listen(event: Event) -> None:
        passed.append(event)

    effort = Effort(listen, lambda: now_s)
    for at_s, stage, done, total in events:
        now_s = 5.0 + at_s
        effort(Event(stage, "", done, total))
    return effort, passed


def test_a_first_run_compiles_times_and_measures() -> None:
    effort, passed = told(
        (0.5, "read", 0, 1), (4.0, "compile", 1, 4), (5.0, "compile", 2, 4), (6.0, "compile", 4, 4),
        (7.0, "profile", 0, 0), (17.0, "compile", 3, 3), (17.5, "search", 1, 9), (18.0, "search", 2, 9),
        (19.0, "write", 0, 0), (19.5, "compile", 5, 5),
    )  # fmt: skip
    assert effort.document() == {
        "compiled": 3, "cached": 1, "compile_s": 3.5, "profile_s": 10.0, "first_measured_s": 17.5
    }  # fmt: skip
    assert effort.text() == (
        "kernels: 3 compiled, 1 from the cache in 3.50 s; timed in 10.0 s; first schedule measured after 17.5 s"
    )
    assert [event.stage for event in passed].count("compile") == 5
    assert len(passed) == 10


def test_a_later_run_takes_all_from_the_cache() -> None:
    effort, _ = told((0.5, "read", 0, 1), (2.0, "compile", 127, 127), (4.0, "search", 1, 9))
    assert effort.text() == "kernels: 0 compiled, 127 from the cache; first schedule measured after 4.00 s"


def test_nothing_is_said_of_what_was_not_done() -> None:
    effort, _ = told((0.5, "read", 0, 1))
    assert effort.text() == ""
    assert told((1.0, "search", 1, 1))[0].text() == "first schedule measured after 1.00 s"
