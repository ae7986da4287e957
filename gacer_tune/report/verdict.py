"""The figures of a run, and the sentence that says honestly what was gained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gacer_tune.errors import UserError


@dataclass(frozen=True, slots=True)
class Gain:
    """Seconds until a tenant, or in the last row all of them together, is done."""

    name: str
    sequential_s: float
    lane_per_tenant_s: float
    tuned_s: float

    @property
    def gain(self) -> float:
        """The better one of the two others over the tuned one; 1 for a tenant that takes no time."""
        return min(self.sequential_s, self.lane_per_tenant_s) / self.tuned_s if self.tuned_s > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """The part of a run's summary that is kept in the manifest."""

    baseline: str
    baseline_s: float
    best_s: float
    speedup: float
    p_value: float
    accepted: bool
    origin: str
    trials: int
    failed_trials: int
    strategy: str
    seconds_spent: float
    objective: str
    rows: tuple[Gain, ...]

    @staticmethod
    def from_manifest(manifest: Mapping[str, Any]) -> Figures:
        """Raises UserError for a manifest without the figures of a run."""
        try:
            data = manifest["figures"]
            return Figures(
                str(data["baseline"]), _number(data["baseline_s"]), _number(data["best_s"]), _number(data["speedup"]),
                _number(data["p_value"]), bool(data["accepted"]), str(data["origin"]), int(data["trials"]),
                int(data["failed_trials"]), str(data["strategy"]), _number(data["seconds_spent"]),
                str(data.get("objective", "makespan")), tuple(_gain(row) for row in data["rows"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            cause = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise UserError(f"manifest.json: no figures of a tuning run: {cause}") from error


def verdict(figures: Any) -> str:
    """One sentence about anything with the fields accepted, speedup, baseline and p_value."""
    baseline = words(figures.baseline)
    if figures.accepted:
        return f"{figures.speedup:.2f}x faster than the best baseline ({baseline}), p = {figures.p_value:.2g}"
    return f"nothing better than {baseline} was found (p = {figures.p_value:.2g}); it was written"


def words(name: str) -> str:
    """Name of a baseline or strategy as people say it: `lane_per_tenant` -> `lane per tenant`."""
    return name.replace("_", " ")


def _gain(row: Mapping[str, Any]) -> Gain:
    times = (_number(row[key]) for key in ("sequential_s", "lane_per_tenant_s", "tuned_s"))
    return Gain(str(row["name"]), *times)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no finite number")
    return number
