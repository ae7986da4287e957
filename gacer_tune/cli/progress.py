"""A tuning run as it goes on: one live line on a terminal, else a plain line now and then."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from gacer_tune.cli.output import console_on, printable
from gacer_tune.report.units import clock_text, seconds_text

if TYPE_CHECKING:
    from gacer_tune.events import Event, Listen

PLAIN_EVERY_S = 5.0
_STOPPING = b"\nstopping: the trial in flight is finished and the best so far is written; Ctrl-C again stops at once\n"
_STAGES = {
    "size": "trying sizes",
    "read": "reading the models",
    "metaschedule": "searching kernels with MetaSchedule",
    "compile": "compiling kernels",
    "profile": "timing kernels",
    "accept": "comparing the best with the baseline",
    "write": "writing",
}


@contextlib.contextmanager
def listening() -> Iterator[Listen]:
    """A listener that shows events on stderr, until the body ends."""
    console = console_on(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield PlainLines(console)
        return
    spinner = Spinner("dots")
    with Live(spinner, console=console, transient=True, refresh_per_second=8) as live:
        yield lambda event: live.update(_one_line(spinner, describe(event)))


def _one_line(spinner: Spinner, text: str) -> Table:
    """Cut to the width of the terminal."""
    line = Table.grid(padding=(0, 1))
    line.add_column(min_width=1)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(spinner, text)
    return line


class PlainLines:
    """Shows the first event and then one at most every PLAIN_EVERY_S seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._last_s: float | None = None

    def __call__(self, event: Event) -> None:
        now_s = self._clock()
        if self._last_s is None or now_s - self._last_s >= PLAIN_EVERY_S:
            self._last_s = now_s
            self._console.print(describe(event), soft_wrap=True)


def describe(event: Event) -> str:
    """`compiling kernels: 12 of 80`; `41 trials, 2 failed; best 12.3 ms, baseline 14.5 ms (1.18x); 45 s left`."""
    if event.stage == "search":
        return _search(event)
    number = event.done + (event.stage == "read")  # models are announced before they are read
    of = f" {number} of {event.total}" if event.total else ""
    details = f"{event.message}{of}".strip()
    return printable(f"{_STAGES[event.stage]}: {details}" if details else _STAGES[event.stage])


def _search(event: Event) -> str:
    """Fits into 80 columns: there is no room for the name of the stage."""
    of = f" of {event.total}" if event.total else ""
    parts = [f"{event.done}{of} trials, {event.failed} failed"]
    if event.best_s > 0:
        parts.append(f"best {seconds_text(event.best_s)}")
    if event.best_s > 0 and event.baseline_s > 0:
        parts[-1] += f", baseline {seconds_text(event.baseline_s)} ({event.baseline_s / event.best_s:.2f}x)"
    return "; ".join([*parts, f"{clock_text(event.left_s)} left"])


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, saying so; the second one raises KeyboardInterrupt."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        os.write(2, _STOPPING)  # not through sys.stderr, in the middle of whose write the signal may have come

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
