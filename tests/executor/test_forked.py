"""Servers load and run a module once and then fork: threads do not come along, and nobody may wait for them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from gacer_tune.executor import threads
from gacer_tune.ir.schedule import breadth_first
from tests.support.compiled import tiny
from tests.support.forked import forked

LANES = min(2, len(threads.allowed_cpus()))
PATIENT_S = 30.0


def in_a_child(run: Callable[[], bool]) -> int | None:
    """What a forked process ends with that calls it: 0 where it returns true; None where it does not end."""
    child = forked(run)
    end = time.monotonic() + PATIENT_S
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking a process that has threads
def test_a_forked_process_runs_what_its_parent_ran_before() -> None:
    """Its children do, too, and it all leaves the parent as it was."""
    bench = tiny(LANES).bench
    loaded = bench.load(breadth_first(tiny(LANES).compiled.workload, LANES))
    bench.session.run(loaded)

    def right() -> bool:
        return bench.digest(loaded) == bench.expected

    assert in_a_child(right) == 0
    assert in_a_child(lambda: right() and in_a_child(right) == 0) == 0
    assert in_a_child(lambda: in_a_child(right) == 0) == 0
    assert right()


def test_a_fork_that_raises_ends() -> None:
    def fail() -> bool:
        raise ValueError

    assert in_a_child(fail) == 2
