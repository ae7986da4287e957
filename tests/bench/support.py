"""Systems whose times are known, and recorded lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import numpy as np

from gacer_tune.bench.rounds import Clock
from gacer_tune.bench.system import Results, System


@dataclass
class Stage:
    """A clock that goes on only when a fake system runs, and a record of who ran."""

    time_s: float = 0.0
    ran: list[str] = field(default_factory=list)
    settled: int = 0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.time_s, self._settle)

    def system(self, name: str, seconds: Sequence[float], peer: str = "fake", value: float = 1.0) -> System:
        """Takes these seconds, in turn and again from the start; its one output is `value`."""
        each: Iterator[float] = cycle(seconds)

        def run() -> Results:
            self.ran.append(name)
            self.time_s += next(each)
            return {"t": {"y": np.full(3, value, np.float32)}}

        return System(name, peer, run)

    def _settle(self) -> None:
        self.settled += 1


def line(name: str, peer: str, median_s: float, ratio: float, rounds: int = 20) -> dict[str, Any]:
    return {
        "name": name, "peer": peer, "median_s": median_s, "iqr_s": median_s / 10, "min_s": median_s * 0.9,
        "rounds": rounds, "ratio": ratio, "p_value": 0.001 if ratio > 1 else 0.9,
    }  # fmt: skip


def document(ours_s: float, ratios: dict[str, float], **changes: Any) -> dict[str, Any]:
    """What `bench --json` prints for systems `PEER MODE` with these ratios."""
    systems = [line("ours", "ours", ours_s, 1.0), line("ours sequential", "ours", ours_s * 1.2, 1.2)]
    systems += [line(name, name.split()[0], ours_s * ratio, ratio) for name, ratio in ratios.items()]
    best: dict[str, str] = {}
    for name, ratio in ratios.items():
        peer = name.split()[0]
        if peer not in best or ratio < ratios[best[peer]]:
            best[peer] = name
    least = min(ratios, key=lambda name: ratios[name])
    return {
        "systems": systems, "best_modes": best, "best_peer": least, "ratio_best_peer": ratios[least], "wrong": [],
        "skipped": {}, "others": 0.0, "rounds": 20, "versions": {"gacer-tune": "0.1.0", "onnxruntime": "1.31.1"},
        "machine": {"cpu": "Some CPU", "isa": "avx2", "lanes": 2, "cores": 4}, **changes,
    }  # fmt: skip


def record(kind: str, name: str, bench: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    found = {"failed": "gacer-tune tune: error: out of luck"} if bench is None else {"bench": bench}
    head = {"set": kind, "name": name, "at": "2025-03-04T05:06:07+00:00", "command": "python -m tests.bench"}
    return {**head, "budget": "20s", **found, **changes}
