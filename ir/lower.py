"""lower(workload, schedule) -> Plan.

Kernels are issued one by one in the order the schedule decides; each is cut into slices, each slice goes to the end
of its lane. A slice waits only for slices issued before it, so no set of lanes can wait in a circle, and a plan ends
whatever the timing. A wait names a lane and how many of its slices must be done; waits that follow from earlier ones
of the same lane are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from gacer_tune.ir.memory import place
from gacer_tune.ir.plan import Memory, Plan, Slice, Wait
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Workload


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
    return Plan(tuple(map(tuple, builder.lanes)), memory or place(workload), priorities)


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
        self.clocks: dict[tuple[int, int], tuple[int, ...]] = {}  # clock after slice (lane, position)
        self.floor = [0] * schedule.lanes
        self.done: list[list[list[tuple[int, int]]]] = [[] for _ in workload.tenants]  # [tenant][kernel] -> slices

    def issue(self, cluster: int, tenant: int, op: int) -> None:
        model, schedule = self.workload.tenants[tenant], self.schedule
        lanes = schedule.clusters[cluster].lanes[tenant]
        first, chunks = schedule.first[tenant][op], schedule.chunks[tenant][op] or len(lanes)
        for number in range(model.first_kernel[op], model.first_kernel[op + 1]):
            variant = schedule.variants[tenant][number]
            items = model.kernels[number].variants[variant].items
            count = min(chunks, items)
            wanted = self._wanted([place for parent in model.depends[number] for place in self.done[tenant][parent]])
            places = []
            for i in range(count):
                lane = lanes[(first + i) % len(lanes)]
                waits = self._waits(lane, wanted)
                lo, hi = items * i // count, items * (i + 1) // count
                places.append(self._append(lane, Slice(tenant, number, variant, lo, hi, cluster, waits)))
            self.done[tenant].append(places)

    def _wanted(self, needs: list[tuple[int, int]]) -> list[int]:
        """How many slices of each lane must be done before a slice that needs these (lane, position) may start."""
        wanted = list(self.floor)
        for lane, position in needs:
            if position >= wanted[lane]:
                wanted[lane] = position + 1
        return wanted

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

    def _append(self, lane: int, piece: Slice) -> tuple[int, int]:
        position = len(self.lanes[lane])
        self.lanes[lane].append(piece)
        self.known[lane][lane] = position + 1
        self.clocks[lane, position] = tuple(self.known[lane])
        return lane, position

    def close(self) -> None:
        """End a cluster: whatever is issued from here on waits for everything issued so far."""
        self.floor = [len(lane) for lane in self.lanes]
