"""lower(workload, schedule) -> Plan.

Kernels are issued one by one in the order the schedule decides; each is cut into slices, each slice goes to the end
of its lane. A slice waits only for slices issued before it, so no set of lanes can wait in a circle, and a plan ends
whatever the timing. A wait names a lane and how many of its slices must be done; waits that follow from earlier ones
of the same lane are left out. Where both kernels are cut by rows, a slice waits for those slices only that compute the
rows it reads (rows.py): a lane that goes on with its own rows does not wait at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf

from gacer_tune.ir.memory import place
from gacer_tune.ir.plan import Memory, Plan, Slice, Wait
from gacer_tune.ir.rows import Span
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Workload

Place = tuple[int, int]  # lane, position


def lower(workload: Workload, schedule: Schedule, memory: Memory | None = None) -> Plan:
    """Return the plan of a schedule. `memory` saves placing the buffers again: it is the same for every schedule.

    Raises IllegalScheduleError.
    """
    verify(workload, schedule)
    builder = _Builder(workload, schedule)
    for cluster in range(len(schedule.clusters)):
        for tenant, op in _issue(schedule, cluster, workload):
            builder.issue(cluster, tenant, op)
        builder.close()
    priorities = schedule.lane_priorities if schedule.priorities else ()
    shares = schedule.lane_shares if schedule.shares else ()
    return Plan(tuple(map(tuple, builder.lanes)), memory or place(workload), priorities, shares, schedule.steal)


def _issue(schedule: Schedule, cluster: int, workload: Workload) -> Iterator[tuple[int, int]]:
    """Yield (tenant, op) of one cluster in issue order."""
    spans = {}
    for tenant, pointers in enumerate(schedule.pointers):
        bounds = (0, *pointers, len(workload.tenants[tenant].ops))
        spans[tenant] = range(bounds[cluster], bounds[cluster + 1])
    order = schedule.clusters[cluster].order
    if not schedule.clusters[cluster].breadth:
        yield from ((tenant, op) for tenant in order for op in spans[tenant])
        return
    for step in range(max(map(len, spans.values()), default=0)):
        yield from ((tenant, spans[tenant][step]) for tenant in order if step < len(spans[tenant]))


class _Builder:
    """Lanes under construction. known[l][m]: how many slices of lane m are done whenever lane l's last slice is."""

    def __init__(self, workload: Workload, schedule: Schedule) -> None:
        self.workload, self.schedule = workload, schedule
        self.lanes: list[list[Slice]] = [[] for _ in range(schedule.lanes)]
        self.known = [[0] * schedule.lanes for _ in range(schedule.lanes)]
        self.clocks: dict[Place, tuple[int, ...]] = {}  # clock after slice (lane, position)
        self.floor = [0] * schedule.lanes
        self.done: list[list[list[Place]]] = [[] for _ in workload.tenants]  # [tenant][kernel] -> slices

    def issue(self, cluster: int, tenant: int, op: int) -> None:
        model, schedule = self.workload.tenants[tenant], self.schedule
        lanes = schedule.clusters[cluster].lanes[tenant]
        first, chunks = schedule.first[tenant][op], schedule.chunks[tenant][op] or len(lanes)
        for number in range(model.first_kernel[op], model.first_kernel[op + 1]):
            variant = schedule.variants[tenant][number]
            items = model.kernels[number].variants[variant].items
            count = min(chunks, items)
            needs, places = self._needs(tenant, number), []
            for i in range(count):
                lane = lanes[(first + i) % len(lanes)]
                lo, hi = items * i // count, items * (i + 1) // count
                waits = self._waits(lane, needs(variant, lo, hi))
                places.append(self._append(lane, Slice(tenant, number, variant, lo, hi, cluster, waits)))
            self.done[tenant].append(places)

    def _needs(self, tenant: int, number: int) -> Callable[[int, int, int], list[int]]:
        """Tell for slices (variant, lo, hi) of a kernel how many slices of each lane must be done before one starts."""
        model, common = self.workload.tenants[tenant], list(self.floor)
        kernel, by_rows = model.kernels[number], []
        for link in model.links[number]:
            done = self.done[tenant][link.parent]
            rows = self._rows(done) if link.pitches else []
            if rows:
                by_rows.append((link, rows))
            else:
                _include(common, done)

        def needs(variant: int, lo: int, hi: int) -> list[int]:
            cut, wanted = kernel.variants[variant].cut, list(common)
            for link, rows in by_rows:
                first, behind = link.needs(cut.rows(lo, hi, kernel.rows)) if cut else (0, inf)
                _include(wanted, [place for place, span in rows if span[0] < behind and first < span[1]])
            return wanted

        return needs

    def _rows(self, done: list[Place]) -> list[tuple[Place, Span]]:
        """The slices of a kernel with the rows that each computes; none where its items are no blocks of rows."""
        found = []
        for lane, at in done:
            piece = self.lanes[lane][at]
            kernel = self.workload.tenants[piece.tenant].kernels[piece.kernel]
            cut = kernel.variants[piece.variant].cut
            if cut is None:
                return []
            found.append(((lane, at), cut.rows(piece.lo, piece.hi, kernel.rows)))
        return found

    def _waits(self, lane: int, wanted: list[int]) -> tuple[Wait, ...]:
        """Waits of the next slice of `lane`, newest facts first, without those that others imply."""
        known, waits = self.known[lane], []
        missing = [o for o, (want, have) in enumerate(zip(wanted, known, strict=True)) if want > have and o != lane]
        missing.sort(key=lambda o: wanted[o] - known[o], reverse=True)
        for other in missing:
            if wanted[other] > known[other]:
                waits.append(Wait(other, wanted[other]))
                known[:] = map(max, known, self.clocks[other, wanted[other] - 1])
        return tuple(sorted(waits, key=lambda wait: wait.lane))

    def _append(self, lane: int, piece: Slice) -> Place:
        position = len(self.lanes[lane])
        self.lanes[lane].append(piece)
        self.known[lane][lane] = position + 1
        self.clocks[lane, position] = tuple(self.known[lane])
        return lane, position

    def close(self) -> None:
        """End a cluster: whatever is issued from here on waits for everything issued so far."""
        self.floor = [len(lane) for lane in self.lanes]


def _include(wanted: list[int], needs: Iterable[Place]) -> None:
    """Let `wanted`, how many slices of each lane, include these."""
    for lane, position in needs:
        if position >= wanted[lane]:
            wanted[lane] = position + 1
