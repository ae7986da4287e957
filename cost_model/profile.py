"""Measured seconds of every kernel variant: all that the timeline knows about the machine."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gacer_tune.cost_model.interference import Interference
from gacer_tune.ir.workload import Workload

FORMAT = 2
_OLDER = (1,)  # the same without interference: it counts as not measured
_NOT_MEASURED = Interference()

Rows = tuple[tuple[tuple[float, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds by [tenant][kernel][variant], for all work items of the kernel on one lane.

    alone         the other lanes are idle
    shared        cut over all lanes, as all kernels before it: the other lanes are busy with it, and have written most
                  of what it reads; equal to `alone` where nobody has measured it
    handover_s    from the end of a slice to the start of one that waits for it on another lane; also GACER's T_SW
    launch_s      what starting a slice costs its lane
    interference  how much slices slow each other down

    Raises ValueError for a time that is negative or not finite, and for rows of unequal shape.
    """

    alone: Rows
    shared: Rows
    handover_s: float = 0.0
    launch_s: float = 0.0
    interference: Interference = _NOT_MEASURED

    def __post_init__(self) -> None:
        if _shape(self.alone) != _shape(self.shared):
            raise ValueError("profile: alone and shared differ in shape")
        for name, rows in (("alone", self.alone), ("shared", self.shared)):
            for t, k, v, seconds in _flat(rows):
                _refuse_bad(f"{name}: tenant {t}, kernel {k}, variant {v}", seconds)
        _refuse_bad("handover_s", self.handover_s)
        _refuse_bad("launch_s", self.launch_s)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Profile:
        """Inverse of to_json. Raises ValueError for another format, KeyError or TypeError for what is no profile."""
        version = data.get("format")
        if version not in (FORMAT, *_OLDER):
            raise ValueError(f"profile format {version!r}: this version reads {FORMAT}; tune again to measure it")
        interference = Interference(**data["interference"]) if version == FORMAT else _NOT_MEASURED
        seconds = float(data["handover_s"]), float(data["launch_s"])
        return Profile(_rows(data["alone"]), _rows(data["shared"]), *seconds, interference)


class Demand(NamedTuple):
    """GACER's two figures of an operator: the share W of the pool that it can occupy, and for how long, T."""

    share: float
    seconds: float


def refuse_mismatch(workload: Workload, profile: Profile) -> None:
    """Raise ValueError unless the profile has one time for every variant of every kernel of the workload."""
    wanted = [[len(kernel.variants) for kernel in tenant.kernels] for tenant in workload.tenants]
    if _shape(profile.alone) != wanted:
        raise ValueError(f"profile: variants by tenant and kernel {_shape(profile.alone)}, the workload has {wanted}")


def demand(total_s: float, total: int, items: int, lanes: int) -> Demand:
    """W and T of `items` of a kernel's `total` work items, spread over a pool of `lanes`.

    `total_s` is the time of all work items on one lane. W = min(1, items / lanes) never falls as items grow; T is the
    time of the lane that gets most of them.
    """
    return Demand(min(1.0, items / lanes), total_s * -(-items // lanes) / total)


def spread_s(workload: Workload, profile: Profile, where: tuple[int, int, int], lanes: int) -> float:
    """Seconds of (tenant, kernel, variant) cut over `lanes` lanes, all others busy: its largest slice and a launch."""
    tenant, kernel, variant = where
    items = workload.tenants[tenant].kernels[kernel].variants[variant].items
    return demand(profile.shared[tenant][kernel][variant], items, items, lanes).seconds + profile.launch_s


def best_variant(workload: Workload, profile: Profile, tenant: int, kernel: int, lanes: int) -> int:
    """The variant that is fastest when cut over `lanes` lanes; the first of equals."""
    count = len(workload.tenants[tenant].kernels[kernel].variants)
    return min(range(count), key=lambda variant: spread_s(workload, profile, (tenant, kernel, variant), lanes))


def _shape(rows: Rows) -> list[list[int]]:
    return [[len(variants) for variants in kernels] for kernels in rows]


def _flat(rows: Rows) -> list[tuple[int, int, int, float]]:
    return [(t, k, v, s) for t, kernels in enumerate(rows) for k, row in enumerate(kernels) for v, s in enumerate(row)]


def _refuse_bad(what: str, seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"profile: {what}: {seconds} s, a finite number not below 0")


def _rows(rows: list[list[list[float]]]) -> Rows:
    return tuple(tuple(tuple(map(float, row)) for row in kernels) for kernels in rows)
