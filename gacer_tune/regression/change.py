"""One difference between two artifacts, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gacer_tune.report.units import plain

# workload: what is run; device: where; toolchain: what compiled it; schedule: the decisions
Area = Literal["workload", "device", "toolchain", "schedule"]
FEW = 3  # places of a change that are named


@dataclass(frozen=True, slots=True)
class Place:
    """One op or kernel of a tenant, and what was decided about it."""

    name: str
    before: str
    after: str

    @property
    def text(self) -> str:
        return f"{self.name} {self.after} (was {self.before})"


@dataclass(frozen=True, slots=True)
class Change:
    """`what` of `tenant` (empty: of the whole artifact) was `before` in the baseline and is `after` now.

    Where a tenant has many of them, before and after count those that differ and all, and `places` names the former.
    """

    area: Area
    what: str
    tenant: str
    before: str
    after: str
    places: tuple[Place, ...] = ()

    @property
    def text(self) -> str:
        """`det: pointers before conv_7 (was none)`, `det: chunks of 1 of 40 ops: conv_7 4 (was 2)`."""
        where = f"{self.tenant}: " if self.tenant else ""
        if self.places:
            return f"{where}{self.what} of {self.after}: {shortened([place.text for place in self.places])}"
        return f"{where}{self.what} {self.after} (was {self.before})"


def changed(area: Area, tenant: str, pairs: Mapping[str, tuple[Any, Any]]) -> Iterator[Change]:
    """A change for each `what` whose two values, before and after, differ."""
    for what, (before, after) in pairs.items():
        if before != after:
            yield Change(area, what, tenant, plain(before), plain(after))


def shortened(parts: Sequence[str]) -> str:
    """The first few and how many are left out."""
    more = len(parts) - FEW
    return ", ".join(parts[:FEW]) + (f" and {more} more" if more > 0 else "")
