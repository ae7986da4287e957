"""What a tuning run spends before its search: kernels compiled and timed, and when the first schedule was measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gacer_tune.events import Event, Listen
from gacer_tune.report.units import seconds_text


@dataclass
class Effort:
    """Listens for another listener. Times count from when it was made.

    cached, compiled: functions that the cache had at first, and that were compiled; stages_s: time of each stage;
    first_s: when the first schedule had been measured, 0 before.
    """

    listen: Listen
    clock: Callable[[], float] = time.monotonic
    cached: int = 0
    compiled: int = 0
    stages_s: dict[str, float] = field(default_factory=dict)
    first_s: float = 0.0
    _last: Event | None = None

    def __post_init__(self) -> None:
        self._began_s = self._last_s = self.clock()

    def __call__(self, event: Event) -> None:
        now_s, last = self.clock(), self._last
        if last is not None:
            self.stages_s[last.stage] = self.stages_s.get(last.stage, 0.0) + now_s - self._last_s
        if event.stage == "compile":
            self._count(event)
        if event.stage == "search" and self.first_s == 0:
            self.first_s = now_s - self._began_s
        self._last, self._last_s = event, now_s
        self.listen(event)

    def _count(self, event: Event) -> None:
        """Functions are compiled in batches; the first event of each says what was there."""
        last = self._last
        if last is not None and last.stage == "compile" and last.total == event.total and event.done > last.done:
            self.compiled += event.done - last.done
        elif "compile" not in self.stages_s and (last is None or last.stage != "compile"):
            self.cached = event.done

    def text(self) -> str:
        """`kernels: 3 compiled, 1 from the cache in 3.50 s; timed in 10.0 s; first schedule measured after 17.5 s`."""
        parts = []
        if "metaschedule" in self.stages_s:
            parts.append(f"kernels searched in {seconds_text(self.stages_s['metaschedule'])}")
        if self.cached or self.compiled:
            spent = f" in {seconds_text(self.stages_s.get('compile', 0.0))}" if self.compiled else ""
            parts.append(f"kernels: {self.compiled} compiled, {self.cached} from the cache{spent}")
        if "profile" in self.stages_s:
            parts.append(f"timed in {seconds_text(self.stages_s['profile'])}")
        if self.first_s:
            parts.append(f"first schedule measured after {seconds_text(self.first_s)}")
        return "; ".join(parts)

    def document(self) -> dict[str, Any]:
        """The same for --json."""
        return {
            "compiled": self.compiled,
            "cached": self.cached,
            "compile_s": self.stages_s.get("compile", 0.0),
            "profile_s": self.stages_s.get("profile", 0.0),
            "first_measured_s": self.first_s,
            **({"metaschedule_s": self.stages_s["metaschedule"]} if "metaschedule" in self.stages_s else {}),
        }
