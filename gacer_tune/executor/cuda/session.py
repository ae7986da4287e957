"""A compiled module on a GPU: one block of its memory, and plans captured as graphs that run in it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NamedTuple

from gacer_tune.errors import UserError
from gacer_tune.executor.cuda.driver import Driver, capture
from gacer_tune.executor.cuda.graph import Launch, Mark, Marks, script
from gacer_tune.executor.cuda.green import Parts
from gacer_tune.executor.memory import SLACK, Array, Block, port_nbytes
from gacer_tune.ir.plan import Memory, Plan, Slice
from gacer_tune.ir.workload import Port, Workload

MOST_LANES = 32
# More than any second-level cache; at 3 TB/s it takes 90 us, in which the host launches what is timed behind it.
FLUSH_NBYTES = 256 << 20

Stamp = tuple[Slice, int, Mark, int]  # slice, lane, mark, timed event


@dataclass(frozen=True, slots=True)
class LoadedGraph:
    """A plan ready to run. `stamps` are there where it was loaded with marks."""

    plan: Plan
    instance: int
    stamps: tuple[Stamp, ...] = ()


class Span(NamedTuple):
    """When a slice ran, seconds since the begin of its run."""

    piece: Slice
    lane: int
    begin_s: float
    end_s: float


class CudaSession(Block):
    """Has the methods of the CPU's Session; `port` is memory of the host that `run` brings to the GPU and back.

    Not for several threads at once: a run holds a lock.
    """

    def __init__(self, driver: Driver, workload: Workload, memory: Memory, lanes: int) -> None:
        require_streams(lanes)
        super().__init__(workload, memory)
        self.driver = driver
        self.base = driver.allocate(memory.nbytes + SLACK)
        self.streams = tuple(driver.stream() for _ in range(lanes))
        self.cpus = tuple(range(lanes))  # what lanes are on this device: numbers of streams
        self._ends = (driver.event(timed=True), driver.event(timed=True))
        self._ports = {
            (t, port.buffer): driver.staging(port_nbytes(port)).view(port.dtype).reshape(port.shape)
            for t, tenant in enumerate(workload.tenants)
            for port in (*tenant.inputs, *tenant.outputs)
        }
        self._special: dict[tuple[int, int, Parts | None], int] = {}  # streams by lane, priority and parts of the GPU
        self._events: list[int] = []  # used by one capture after the other
        self._idle_marks: list[int] = []
        self._warm: set[str] = set()
        self.flush_nbytes, self._scrap = FLUSH_NBYTES, 0
        self._taken: set[tuple[int, int]] = set()  # inputs that need not be uploaded
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give back what is on the GPU, after the run in progress; neither ports nor graphs can be used any more."""
        with self._lock:
            self._ports.clear()
            self.driver.close()

    def _write(self, offset: int, data: Array) -> None:
        self.driver.upload(self.base + offset, data, self.streams[0])
        self.driver.synchronize(self.streams[0])

    def port(self, tenant: int, port: Port) -> Array:
        """An input or output on the host, as an array of its shape."""
        return self._ports[tenant, port.buffer]

    def address(self, tenant: int, port: Port) -> int:
        """Where an input or output lies on the device."""
        return self.base + self.memory.offsets[tenant][port.buffer]

    def poison(self) -> None:
        """Make everything but weights NaN, so that a value nobody computed cannot pass for an old one."""
        start = self.memory.weights_nbytes
        self.driver.fill(self.base + start, 0xFF, self.memory.nbytes + SLACK - start, self.streams[0])
        self.driver.synchronize(self.streams[0])

    def load(self, plan: Plan, marks: Marks = "none", old: LoadedGraph | None = None) -> LoadedGraph:
        """Capture the plan. `old`, which is not run any more, lends its instance where the graphs are alike.

        Raises UserError for more lanes than the session has, KeyError for a function that the module lacks.
        """
        if len(plan.lanes) > len(self.streams):
            raise UserError(f"lanes: {len(plan.lanes)}, this session has {len(self.streams)} streams")
        self._warm_up(plan)
        steps = script(plan, marks)
        self._events += [self.driver.event() for _ in range(steps.events - len(self._events))]
        stamped = [self._mark() for _ in steps.marks]
        graph = capture(self.driver, steps, self._streams_of(plan), self._events, stamped, self._launch)
        slices = list(plan.slices())
        stamps = tuple((slices[m.row], m.stream, m, e) for m, e in zip(steps.marks, stamped, strict=True))
        return LoadedGraph(plan, self._instance(graph, plan, old), stamps)

    def _streams_of(self, plan: Plan) -> list[int]:
        """The streams that a plan is captured on; a lane with a priority or a share has another one that has them."""
        found = list(self.streams)
        priorities = plan.priorities or (0,) * len(plan.lanes)
        for lane, (priority, parts) in enumerate(zip(priorities, plan.parts, strict=True)):
            if priority or parts is not None:
                if (lane, priority, parts) not in self._special:
                    self._special[lane, priority, parts] = self.driver.stream(priority, parts)
                found[lane] = self._special[lane, priority, parts]
        return found

    def _instance(self, graph: int, plan: Plan, old: LoadedGraph | None) -> int:
        """The graph ready to run; it and what is left of `old` are given back.

        CUDA does not say what an update does to the part of the GPU that a launch has: with parts there is none.
        """
        if old is None:
            instance, gone = self.driver.instantiate(graph), 0
        elif not _divided(plan, old.plan) and self.driver.update(old.instance, graph):
            instance, gone = old.instance, 0
        else:
            instance, gone = self.driver.instantiate(graph), old.instance
        self.driver.drop(graph, gone)
        self._idle_marks += [event for *_, event in old.stamps] if old is not None else []
        return instance

    def _mark(self) -> int:
        return self._idle_marks.pop() if self._idle_marks else self.driver.event(timed=True)

    def take(self, tenant: int, port: Port, address: int) -> None:
        """Use an input that is on the device already, for the next run; it is ready on CUDA's default stream."""
        self.driver.follow(self.streams[0])
        self.driver.copy(self.address(tenant, port), address, port_nbytes(port), self.streams[0])
        self._taken.add((tenant, port.buffer))

    def run(self, loaded: LoadedGraph) -> None:
        """Bring the inputs to the device, carry out the plan once, bring the outputs back."""
        with self._lock:
            self._upload()
            self.driver.run(loaded.instance, self.streams[0])
            self._download()
            self.driver.synchronize(self.streams[0])

    def seconds(self, loaded: LoadedGraph) -> float:
        """Carry out the plan once on the inputs that are there; seconds on the device, without copies."""
        with self._lock:
            begin, end = self._ends
            self.driver.record(begin, self.streams[0])
            self.driver.run(loaded.instance, self.streams[0])
            self.driver.record(end, self.streams[0])
            self.driver.synchronize(self.streams[0])
            return self.driver.elapsed_s(begin, end)

    def times(self, loaded: LoadedGraph) -> list[float]:
        """Seconds of each stamp since the begin of the last `seconds`."""
        return [self.driver.elapsed_s(self._ends[0], event) for _, _, _, event in loaded.stamps]

    def flush(self) -> None:
        """Overwrite the second-level cache, so that the next run begins as every other one does."""
        if not self._scrap:
            self._scrap = self.driver.allocate(self.flush_nbytes)
        self.driver.fill(self._scrap, 0, self.flush_nbytes, self.streams[0])

    def discard(self, *graphs: LoadedGraph) -> None:
        """Free graphs that are not run any more."""
        for loaded in graphs:
            self.driver.drop(0, loaded.instance)
            self._idle_marks += [event for *_, event in loaded.stamps]

    def timeline(self, plan: Plan) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of one run on the inputs that are there."""
        loaded = self.load(plan, "slices")
        for _ in range(2):
            self.seconds(loaded)
        found = self.spans(loaded)
        self.discard(loaded)
        first = min((span.begin_s for span in found), default=0.0)
        return [(s.piece.tenant, s.piece.kernel, s.lane, s.begin_s - first, s.end_s - first) for s in found]

    def spans(self, loaded: LoadedGraph) -> list[Span]:
        """The slices of the last run of a plan that was loaded with marks around slices, lane by lane in order."""
        times: dict[int, dict[bool, float]] = {}
        pieces: dict[int, tuple[Slice, int]] = {}
        for (piece, lane, mark, _), at in zip(loaded.stamps, self.times(loaded), strict=True):
            times.setdefault(mark.row, {})[mark.behind] = at
            pieces[mark.row] = (piece, lane)
        return [Span(*pieces[row], times[row][False], times[row][True]) for row in sorted(times)]

    def _upload(self) -> None:
        """Give the inputs to the device, but those that it has."""
        for t, tenant in enumerate(self.workload.tenants):
            for port in tenant.inputs:
                if (t, port.buffer) not in self._taken:
                    self.driver.upload(self.address(t, port), self._ports[t, port.buffer], self.streams[0])
        self._taken.clear()

    def _download(self) -> None:
        for t, tenant in enumerate(self.workload.tenants):
            for port in tenant.outputs:
                self.driver.download(self._ports[t, port.buffer], self.address(t, port), self.streams[0])

    def _launch(self, operation: Launch, stream: int) -> None:
        piece = operation.piece
        kernel = self.workload.tenants[piece.tenant].kernels[piece.kernel]
        offsets = self.memory.offsets[piece.tenant]
        pointers = [self.base + offsets[o.buffer] + o.offset for o in kernel.operands]
        self.driver.launch(kernel.variants[piece.variant].function, pointers, (piece.lo, piece.hi), stream)

    def _warm_up(self, plan: Plan) -> None:
        """Run each function once before it is first captured: its code is loaded then, which a capture forbids."""
        for row, piece in enumerate(plan.slices()):
            kernel = self.workload.tenants[piece.tenant].kernels[piece.kernel]
            name = kernel.variants[piece.variant].function
            if name not in self._warm:
                self._launch(Launch(0, row, piece), self.streams[0])
                self._warm.add(name)
        self.driver.synchronize(self.streams[0])


def _divided(*plans: Plan) -> bool:
    """Whether a lane of one of them has a part of the GPU only."""
    return any(parts is not None for plan in plans for parts in plan.parts)


def require_streams(lanes: int) -> None:
    """Refuse numbers of lanes that no GPU profits from."""
    if not 1 <= lanes <= MOST_LANES:
        raise UserError(f"lanes: {lanes}, on a GPU 1 to {MOST_LANES}")
