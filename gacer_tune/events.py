"""What the tuner tells whoever listens while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gacer_tune.search.trial import Trial

Stage = Literal["size", "read", "metaschedule", "compile", "profile", "search", "accept", "write"]


@dataclass(frozen=True, slots=True)
class Event:
    """One step: `done` of `total` (0: unknown); best_s, baseline_s, failed and left_s belong to the stage `search`."""

    stage: Stage
    message: str = ""
    done: int = 0
    total: int = 0
    trial: Trial | None = None
    best_s: float = 0.0
    baseline_s: float = 0.0
    failed: int = 0
    left_s: float = 0.0


Listen = Callable[[Event], None]
