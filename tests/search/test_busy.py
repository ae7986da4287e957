"""How many cores others take: by hand, and on this machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gacer_tune.search import busy
from gacer_tune.search.busy import Others, family_s


def test_a_family_is_a_process_its_ended_children_and_all_that_descend_from_it() -> None:
    rows = {1: (0, 50.0, 9.0), 10: (1, 1.0, 0.5), 11: (10, 2.0, 0.25), 12: (11, 4.0, 0.0), 20: (1, 8.0, 0.0)}
    assert family_s(rows, 10) == 1.5 + 2.25 + 4.0
    assert family_s(rows, 20) == 8.0


def test_others_are_what_the_family_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([(0.0, 100.0, 10.0), (2.0, 105.0, 11.0), (4.0, 107.0, 13.0), (4.0, 107.0, 13.0)])
    monkeypatch.setattr(busy, "_now", lambda: next(moments))
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    others = Others(2)
    assert others() == 1.0, "5 s of CPU in 2 s, 1 s of it ours, and one core is free for others"
    assert others() == 0.0
    assert others() == 0.0, "no time has passed"


def test_our_own_work_is_not_that_of_others() -> None:
    before = busy._now()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    after = busy._now()
    assert 0.15 < after[2] - before[2] <= after[1] - before[1] + 0.1


def test_processes_that_may_not_be_looked_at_are_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where /proc is mounted with hidepid."""
    read, own = Path.read_text, Path("/proc") / str(os.getpid())

    def refusing(path: Path, *given: str, **named: str) -> str:
        if path.name == "stat" and path.parent not in (own, Path("/proc")):
            raise PermissionError(path)
        return read(path, *given, **named)

    monkeypatch.setattr(Path, "read_text", refusing)
    assert Others(1)() >= 0
    assert [number for number, _ in busy._processes()] == [os.getpid()]
