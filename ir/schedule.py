"""How we choose to run a workload: the decisions, and nothing that follows from them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from gacer_tune.ir.workload import FORMAT, Workload, canonical

PRIORITIES = 3  # of lanes, where the target has any: 0 is the usual one, higher ones go first
PARTS = 8  # into which the processors of a GPU are divided where lanes have shares of them


@dataclass(frozen=True, slots=True)
class Cluster:
    """Decisions between two pointers (GACER's cluster, ICCAD'21's stage).

    lanes[t]  lanes that tenant t may use here
    order     tenants by priority, each once
    breadth   True: ops of the tenants alternate in the issue order; False: one tenant after the other
    """

    lanes: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]
    breadth: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """All decisions for one workload.

    lanes           number of lanes of the machine that it uses
    pointers[t][k]  op of tenant t at which cluster k + 1 begins; not decreasing, as many for every tenant
    clusters        one more than pointers
    chunks[t][op]   slices each kernel of the op is cut into; 0: one for each lane the tenant has
    first[t][op]    which of the tenant's lanes gets the first slice (slice i goes to lane (first + i) mod lanes)
    variants[t][k]  variant of kernel k
    priorities[l]   whose slices start first when several lanes could; 0 for lanes beyond its end. For target cuda only
    shares[l]       of the PARTS of a GPU, so many may lane l use, no two lanes the same ones; 0: all of the GPU
    steal           a lane that waits or is done computes work items of slices that others have begun. For CPUs only
    """

    lanes: int
    pointers: tuple[tuple[int, ...], ...]
    clusters: tuple[Cluster, ...]
    chunks: tuple[tuple[int, ...], ...]
    first: tuple[tuple[int, ...], ...]
    variants: tuple[tuple[int, ...], ...]
    priorities: tuple[int, ...] = ()
    shares: tuple[int, ...] = ()
    steal: bool = False

    @property
    def lane_shares(self) -> tuple[int, ...]:
        """Of every lane."""
        return (*self.shares, *(0,) * (self.lanes - len(self.shares)))

    @property
    def lane_priorities(self) -> tuple[int, ...]:
        """Of every lane."""
        return (*self.priorities, *(0,) * (self.lanes - len(self.priorities)))

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON: the name of this schedule in logs and caches."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        document = {"format": FORMAT, **asdict(self)}
        for later in ("priorities", "shares", "steal"):  # documents are as they were before there were any
            if not document[later]:
                del document[later]
        return document

    @staticmethod
    def from_json(data: dict[str, Any]) -> Schedule:
        """Inverse of to_json. Raises ValueError for another format, KeyError or TypeError for what is no schedule."""
        if data.get("format") != FORMAT:
            raise ValueError(f"schedule format {data.get('format')!r}: this version reads {FORMAT}")
        return Schedule(
            lanes=int(data["lanes"]),
            pointers=_rows(data["pointers"]),
            clusters=tuple(
                Cluster(_rows(c["lanes"]), tuple(map(int, c["order"])), bool(c["breadth"])) for c in data["clusters"]
            ),
            chunks=_rows(data["chunks"]),
            first=_rows(data["first"]),
            variants=_rows(data["variants"]),
            priorities=tuple(map(int, data.get("priorities", ()))),
            shares=tuple(map(int, data.get("shares", ()))),
            steal=bool(data.get("steal", False)),
        )


def _rows(rows: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in rows)


def sequential(workload: Workload, lanes: int) -> Schedule:
    """Tenants one after the other, each op cut over all lanes: what one runtime with all cores does."""
    everywhere = tuple(tuple(range(lanes)) for _ in workload.tenants)
    return _plain(workload, lanes, Cluster(everywhere, tuple(range(len(workload.tenants)))))


def lane_per_tenant(workload: Workload, lanes: int) -> Schedule:
    """Tenant t alone on its lane (t mod lanes); with more lanes than tenants each gets an even share of them."""
    count = len(workload.tenants)
    if lanes >= count:
        shares = tuple(tuple(range(lanes * t // count, lanes * (t + 1) // count)) for t in range(count))
    else:
        shares = tuple((t % lanes,) for t in range(count))
    return _plain(workload, lanes, Cluster(shares, tuple(range(count))))


def breadth_first(workload: Workload, lanes: int) -> Schedule:
    """Ops of the tenants alternate, each cut over all lanes (ICCAD'21's breadth-first issue)."""
    everywhere = tuple(tuple(range(lanes)) for _ in workload.tenants)
    return _plain(workload, lanes, Cluster(everywhere, tuple(range(len(workload.tenants))), breadth=True))


def _plain(workload: Workload, lanes: int, cluster: Cluster) -> Schedule:
    zeros = tuple((0,) * len(tenant.ops) for tenant in workload.tenants)
    return Schedule(
        lanes=lanes,
        pointers=tuple(() for _ in workload.tenants),
        clusters=(cluster,),
        chunks=zeros,
        first=zeros,
        variants=tuple((0,) * len(tenant.kernels) for tenant in workload.tenants),
    )
