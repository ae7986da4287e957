"""How much of the machine others used while something was measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

NOTABLE = 0.1  # cores; more than this and figures are those of a busy machine


@dataclass(frozen=True, slots=True)
class Usage:
    """at_s: when; machine_s, own_s: CPU time used since ever by everybody, and by this process and its children."""

    at_s: float
    machine_s: float
    own_s: float

    @staticmethod
    def now() -> Usage:
        times, own = psutil.cpu_times(), os.times()
        # Stolen time is what the host gave to other machines: as little ours as that of other processes.
        names = ("user", "nice", "system", "irq", "softirq", "steal")
        machine_s = sum(float(getattr(times, name, 0.0)) for name in names)
        return Usage(time.monotonic(), machine_s, own.user + own.system + own.children_user + own.children_system)

    def others_since(self, before: Usage) -> float:
        """Cores that others kept busy, on average."""
        passed_s = self.at_s - before.at_s
        others_s = (self.machine_s - before.machine_s) - (self.own_s - before.own_s)
        return max(0.0, others_s / passed_s) if passed_s > 0 else 0.0
