"""The figures of a run, and the sentence that says honestly what was gained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from gacer_tune.errors import UserError
from gacer_tune.search.objective import ObjectiveName
from gacer_tune.search.sizes import Sized


@dataclass(frozen=True, slots=True)
class Gain:
    """Seconds until a tenant, or in the last row all of them together, is done; 0 for what was not measured."""

    name: str
    sequential_s: float
    lane_per_tenant_s: float
    tuned_s: float
    breadth_first_s: float = 0.0
    tuned_p95_s: float = 0.0

    @property
    def gain(self) -> float:
        """The best one of the others over the tuned one; 1 for a tenant that takes no time."""
        others = [self.sequential_s, self.lane_per_tenant_s, *filter(None, (self.breadth_first_s,))]
        return min(others) / self.tuned_s if self.tuned_s > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A schedule of the artifact that nothing beats for every tenant: its name, and when tenants and all are done."""

    name: str
    tenants_s: tuple[float, ...]
    together_s: float


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
    front: tuple[Choice, ...] = ()
    stopped: str = ""
    interval_s: tuple[float, float] = (0.0, 0.0)
    refused: str = ""
    sizes: Sized | None = None

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
                tuple(_choice(row) for row in data.get("front", ())), str(data.get("stopped", "")),
                _interval(data.get("interval_s", (0.0, 0.0))), str(data.get("refused", "")),
                Sized.from_json(data["sizes"]) if data.get("sizes") else None,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            cause = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise UserError(f"manifest.json: no figures of a tuning run: {cause}") from error


def objective_name(text: str) -> ObjectiveName:
    """Raises UserError for a name that this version does not know."""
    names: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    for name in names:
        if text == name:
            return name
    raise UserError(f"manifest.json: objective {text!r}, allowed: {', '.join(names)}")


def verdict(figures: Any) -> str:
    """One sentence about anything with the fields accepted, speedup, baseline, p_value and refused."""
    baseline = words(figures.baseline)
    if figures.accepted:
        return f"{figures.speedup:.2f}x faster than the best baseline ({baseline}), p = {figures.p_value:.2g}"
    if figures.refused:
        return f"nothing could be proven, {figures.refused}: {baseline} was written; tune again when it is quiet"
    return f"nothing better than {baseline} was found (p = {figures.p_value:.2g}); it was written"


def words(name: str) -> str:
    """Name of a baseline or strategy as people say it: `lane_per_tenant` -> `lane per tenant`."""
    return name.replace("_", " ")


def _gain(row: Mapping[str, Any]) -> Gain:
    times = (_number(row[key]) for key in ("sequential_s", "lane_per_tenant_s", "tuned_s"))
    later = (_number(row.get(key, 0.0)) for key in ("breadth_first_s", "tuned_p95_s"))
    return Gain(str(row["name"]), *times, *later)


def _interval(bounds: Any) -> tuple[float, float]:
    low, high = bounds
    return _number(low), _number(high)


def _choice(row: Mapping[str, Any]) -> Choice:
    return Choice(str(row["name"]), tuple(_number(s) for s in row["tenants_s"]), _number(row["together_s"]))


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no finite number")
    return number
