"""What each slice of a plan would cost by the profile: the part of it that does not depend on what runs beside it.

A kernel that is cut over all lanes reads mostly what other lanes have written, and that is dear: its lines come from
the caches of other cores. `shared` of the profile holds that price for the case in which every kernel is cut alike.
Here it is charged by the share of a slice's input that other lanes of this plan have written.
"""

from __future__ import annotations

from gacer_tune.cost_model.interference import demand
from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.workload import Tenant, Workload

Shares = dict[tuple[int, int], list[float]]


class Costs:
    """Tables by tenant, kernel and variant; made once for a workload and asked for every plan.

    alone[t][k][v]    seconds of all work items
    apart[t][k][v]    seconds on top where other lanes wrote all that is read
    demands[t][k][v]  of memory, see interference.py
    sources[t][k]     (kernel that wrote it, share of the bytes read) for what other kernels wrote
    """

    def __init__(self, workload: Workload, profile: Profile, lanes: int) -> None:
        self.workload, self.profile, self.lanes = workload, profile, lanes
        self.items = [[[v.items for v in k.variants] for k in tenant.kernels] for tenant in workload.tenants]
        self.alone = profile.alone
        self.demands = [
            [[demand(tenant, kernel, s) for s in row] for kernel, row in zip(tenant.kernels, rows, strict=True)]
            for tenant, rows in zip(workload.tenants, profile.alone, strict=True)
        ]
        self.apart = [
            [
                [self._apart(*figures) for figures in zip(*rows, strict=True)]
                for rows in zip(profile.alone[t], profile.shared[t], self.demands[t], strict=True)
            ]
            for t in range(len(workload.tenants))
        ]
        self.sources = [
            [_sources(tenant, number) for number in range(len(tenant.kernels))] for tenant in workload.tenants
        ]

    def _apart(self, alone_s: float, shared_s: float, own: float) -> float:
        """Of the difference between shared and alone, what is left when interference has had its part."""
        others = self.lanes - 1
        if not others:
            return 0.0
        beside = shared_s / self.profile.interference.slowdown(own, [own] * others)
        return (beside - alone_s) * self.lanes / others

    def shares(self, plan: Plan) -> Shares:
        """Share of each (tenant, kernel) that runs on each lane."""
        found: Shares = {}
        for lane, slices in enumerate(plan.lanes):
            for piece in slices:
                row = found.setdefault((piece.tenant, piece.kernel), [0.0] * len(plan.lanes))
                row[lane] += (piece.hi - piece.lo) / self.items[piece.tenant][piece.kernel][piece.variant]
        return found

    def remote(self, shares: Shares, tenant: int, kernel: int, lane: int) -> float:
        """Share of what a slice on `lane` reads that other lanes have written; inputs count as written where most of
        the kernel runs."""
        sources = self.sources[tenant][kernel]
        if not sources:
            return 1.0 - shares[tenant, kernel][lane]
        return 1.0 - sum(weight * shares[tenant, source][lane] for source, weight in sources)


def _sources(tenant: Tenant, number: int) -> tuple[tuple[int, float], ...]:
    reads = tenant.kernels[number].reads
    nbytes = {
        parent: sum(tenant.buffers[b].nbytes for b in tenant.kernels[parent].writes & reads)
        for parent in tenant.depends[number]
    }
    total = sum(nbytes.values())
    return tuple((parent, size / total) for parent, size in nbytes.items()) if total else ()
