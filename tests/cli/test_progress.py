"""What is said while a run goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gacer_tune.cli.progress import PLAIN_EVERY_S, PlainLines, describe, listening
from gacer_tune.events import Event


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event("read", "det", 0, 2), "reading the models: det 1 of 2"),
        (Event("compile", "", 12, 80), "compiling kernels: 12 of 80"),
        (Event("profile", "80 kernel variants"), "timing kernels: 80 kernel variants"),
        (Event("search", left_s=3), "0 trials, 0 failed; 3 s left"),
        (Event("search", "evolve", 4, 90, None, 0.01, 0.0, 1, 61), "4 of 90 trials, 1 failed; best 10.0 ms; "
         "1 min 01 s left"),
        (Event("accept"), "comparing the best with the baseline"),
        (Event("write", "o\x1bt"), "writing: o?t"),
    ],
)  # fmt: skip
def test_every_stage_in_words(event: Event, line: str) -> None:
    assert describe(event) == line


def test_plain_lines_come_at_most_every_five_seconds() -> None:
    text, now = io.StringIO(), [0.0]
    listen = PlainLines(Console(file=text, width=200), lambda: now[0])
    for tenth in range(0, 121):
        now[0] = tenth / 10
        listen(Event("compile", done=tenth, total=120))
    assert PLAIN_EVERY_S == 5.0
    assert text.getvalue().splitlines() == [f"compiling kernels: {n} of 120" for n in (0, 50, 100)]


def test_without_a_terminal_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as listen:
        listen(Event("read", "det", 0, 1))
        listen(Event("read", "seg", 0, 1))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "reading the models: det 1 of 1\n")


def test_on_a_terminal_one_line_is_kept_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("gacer_tune.cli.progress.console_on", lambda **_: console)
    with listening() as listen:
        listen(Event("write", "x" * 200))
    assert "writing: xxx" in text.getvalue()
    assert "…" in text.getvalue()  # cut to the width, never wrapped
    assert "x" * 81 not in text.getvalue()
