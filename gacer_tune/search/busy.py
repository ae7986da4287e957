"""How many cores other processes take from the lanes while a schedule is timed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from gacer_tune.bench.others import machine_s

_PROC = Path("/proc")


class Others:
    """Called, it tells the cores that processes other than this one and what it started kept busy since the last call,
    less those that `lanes` leave free.
    """

    def __init__(self, lanes: int) -> None:
        self._free = max(0, (os.cpu_count() or lanes) - lanes)
        self._last = _now()

    def __call__(self) -> float:
        before, self._last = self._last, _now()
        passed_s, machine, own = (now - then for now, then in zip(self._last, before, strict=True))
        return max(0.0, (machine - own) / passed_s - self._free) if passed_s > 0 else 0.0


def _now() -> tuple[float, float, float]:
    """Seconds: of the clock, of CPU time that was ever used by all, and by this process and what it started."""
    rows = dict(_processes())
    return time.monotonic(), machine_s((_PROC / "stat").read_text(encoding="ascii")), family_s(rows, os.getpid())


def family_s(rows: dict[int, tuple[int, float, float]], root: int) -> float:
    """CPU seconds of a process, with those of its children that have ended, and of all that descend from it.

    rows[process] = (parent, own seconds, seconds of children that have ended).
    """
    parent, own_s, ended_s = rows[root]
    del parent
    children = [process for process, row in rows.items() if row[0] == root]
    return own_s + ended_s + sum(family_s(rows, child) for child in children)


def _processes() -> Iterator[tuple[int, tuple[int, float, float]]]:
    ticks = os.sysconf("SC_CLK_TCK")
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            # A name may hold anything, also brackets: what follows the last one is numbers.
            row = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            user, system, ended_user, ended_system = map(int, row[11:15])
            yield int(folder.name), (int(row[1]), (user + system) / ticks, (ended_user + ended_system) / ticks)
