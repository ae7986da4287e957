"""How much of the machine others used while something was measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_NOTABLE = 0.1  # cores; more than this and figures are those of a busy machine


@dataclass(frozen=True, slots=True)
class Usage:
    """at_s: when; machine_s, own_s: CPU time used since ever by everybody, and by this process and its children."""

    at_s: float
    machine_s: float
    own_s: float

    @staticmethod
    def now() -> Usage:
        own = os.times()
        own_s = own.user + own.system + own.children_user + own.children_system
        return Usage(time.monotonic(), machine_s(_STAT.read_text(encoding="ascii")), own_s)

    def others_since(self, before: Usage) -> float:
        """Cores that others kept busy, on average."""
        passed_s = self.at_s - before.at_s
        others_s = (self.machine_s - before.machine_s) - (self.own_s - before.own_s)
        return max(0.0, others_s / passed_s) if passed_s > 0 else 0.0


def warning(cores: float) -> str:
    """What to say of figures that were measured while others kept so many cores busy; nothing where they hardly did."""
    return f"other processes or guests of the host used {cores:.1f} cores meanwhile" if cores > _NOTABLE else ""


def machine_s(stat: str) -> float:
    """CPU seconds that were used since ever, from the text of /proc/stat.

    With those that the host of a virtual machine gave to others: no more ours than those of other processes.
    """
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, stat.split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
