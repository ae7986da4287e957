"""An NVIDIA GPU made of numbers: the search and the command line work on it where there is none.

A kernel holds a share W of the SMs for as long as the slower of its arithmetic and its traffic takes (a roofline); what
runs beside it takes SMs and bandwidth from it as soon as both together want more than there is. SMs go to lanes of the
highest priority first, those of lower ones get what is left; but blocks that run are not interrupted: where they have
all SMs, what starts now waits for the first of them to end. A lane with a share of the GPU never wants more than that,
and where all lanes have one, none waits for another's blocks.
Between kernels of one stream lies a gap, a dependency across streams costs an event. None of the figures is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType

from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import Timeline, timeline_of
from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.schedule import PARTS
from gacer_tune.ir.workload import Kernel, Variant, Workload
from gacer_tune.search.simulated import SimulatedDevice

NOISE = 0.01
NOTHING = 1e-9  # of the SMs: what is left of sums that do not come out even


@dataclass(frozen=True, slots=True)
class GpuModel:
    """Estimates, for an H100 SXM unless given otherwise. flops_s: of a full GPU, by precision; bytes_s: of its memory.

    resident     by function: thread blocks of it that an SM runs at once (kernels/cuda/occupancy.py)
    blocks       the same for functions that are not in `resident`
    saturating   share of the SMs that is enough to use all of the bandwidth
    block_s      what a block takes besides its arithmetic: start, first loads, last stores
    gap_s        between two kernels of one stream of a graph
    event_s      from the end of a kernel to the start of one on another stream that waits for it
    graph_s      from the launch of a graph to its first kernel
    """

    arch: str = "sm_90"
    sms: int = 132
    flops_s: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"fp16": 350e12, "tf32": 170e12, "fp32": 40e12})
    )
    bytes_s: float = 2.6e12
    blocks: int = 2
    saturating: float = 0.4
    block_s: float = 1.5e-6
    gap_s: float = 1.2e-6
    event_s: float = 1.6e-6
    graph_s: float = 6e-6
    resident: Mapping[str, int] = field(default_factory=dict)

    def slots(self, function: str) -> int:
        """Blocks of a function that the GPU runs at once."""
        return self.sms * self.resident.get(function, self.blocks)


GPU_MODELS: dict[str, GpuModel] = {
    "h100": GpuModel(),
    "a100": GpuModel("sm_80", 108, MappingProxyType({"fp16": 170e12, "tf32": 85e12, "fp32": 15e12}), 1.4e12),
}


@dataclass(frozen=True, slots=True)
class Load:
    """One slice alone on the GPU. share: W, of the SMs; the parts of its seconds that arithmetic and traffic need.

    waves: in which its blocks run, all of one beginning and ending together.
    """

    seconds: float
    share: float
    arithmetic: float
    traffic: float
    waves: int = 1

    def slowed(self, shares: float, traffic: float) -> float:
        """Seconds beside others, when all together want these multiples of the SMs and of the bandwidth."""
        return self.seconds / self.speed(1 / max(1.0, shares), traffic)

    def speed(self, given: float, traffic: float) -> float:
        """Of 1 alone, with so much of the SMs that it wants, when all together want this multiple of the bandwidth."""
        if given <= 0:
            return 0.0
        return 1 / max(1.0, self.arithmetic / given, self.traffic * max(1.0, traffic))


def load_of(gpu: GpuModel, precision: str, kernel: Kernel, variant: Variant, blocks: int, part: float = 1.0) -> Load:
    """The load of so many blocks of a kernel in a variant on a part of the SMs: they run in waves."""
    items, slots = variant.items, gpu.slots(variant.function)
    most = max(1, int(slots * part))
    share = min(part, blocks / slots)
    each_s = gpu.block_s + kernel.flops / items * slots / gpu.flops_s[precision]
    waves = -(-blocks // most)
    arithmetic_s = waves * each_s
    full_s = kernel.nbytes * blocks / items / gpu.bytes_s
    seconds = max(arithmetic_s, full_s / min(1.0, share / gpu.saturating))
    return Load(seconds, share, arithmetic_s / seconds, full_s / seconds, waves)


def profile_of(workload: Workload, gpu: GpuModel, precision: str, lanes: int) -> Profile:
    """What measuring every variant would give: alone, and with the same kernel on all lanes."""
    alone, shared = [], []
    for tenant in workload.tenants:
        loads = [
            [load_of(gpu, precision, kernel, variant, variant.items) for variant in kernel.variants]
            for kernel in tenant.kernels
        ]
        alone.append(tuple(tuple(load.seconds for load in row) for row in loads))
        shared.append(
            tuple(tuple(load.slowed(lanes * load.share, lanes * load.traffic) for load in row) for row in loads)
        )
    return Profile(tuple(alone), tuple(shared), gpu.event_s, gpu.gap_s)


@dataclass(frozen=True)
class SimulatedGpu(SimulatedDevice):
    """Lanes are streams; a run is the launch of one graph. Make one with `simulated_gpu`."""

    gpu: GpuModel = field(default_factory=GpuModel)
    precision: str = "fp16"

    def timeline(self, plan: Plan) -> Timeline:
        return simulate_gpu(self.workload, plan, self.gpu, self.precision)


def simulated_gpu(
    workload: Workload, gpu: GpuModel, precision: str, lanes: int, noise: float = NOISE, seed: int = 0
) -> SimulatedGpu:
    profile = profile_of(workload, gpu, precision, lanes)
    return SimulatedGpu(workload, profile, lanes, noise, seed, gpu=gpu, precision=precision)


def simulate_gpu(workload: Workload, plan: Plan, gpu: GpuModel, precision: str) -> Timeline:
    """When each slice would run. Raises ValueError where lanes wait for each other in a circle."""
    run = _Run(workload, plan, gpu, precision)
    run.finish_all()
    return timeline_of(plan, len(workload.tenants), (run.starts, run.ends), gpu.event_s)


def given(loads: Mapping[int, Load], priorities: Sequence[int]) -> dict[int, float]:
    """Of the SMs that each running lane wants, the part it gets: those of the highest priority are served first."""
    found, left = {}, 1.0
    for level in sorted({priorities[lane] for lane in loads}, reverse=True):
        lanes = [lane for lane in loads if priorities[lane] == level]
        wanted = sum(loads[lane].share for lane in lanes)
        part = min(1.0, left / wanted)
        found.update(dict.fromkeys(lanes, part if part > NOTHING else 0.0))
        left = max(0.0, left - wanted)
    return found


class _Run:
    """The streams at one moment. when[l]: the next event of stream l, the end of its slice or the start of the next."""

    def __init__(self, workload: Workload, plan: Plan, gpu: GpuModel, precision: str) -> None:
        self.workload, self.lanes, self.gpu, self.precision = workload, plan.lanes, gpu, precision
        count = len(plan.lanes)
        self.priorities = plan.priorities or (0,) * count
        self.apart = plan.shares or (0,) * count
        self.parts = [share / PARTS or 1.0 for share in self.apart]
        self.starts: list[list[float]] = [[] for _ in range(count)]
        self.ends: list[list[float]] = [[] for _ in range(count)]
        self.when = [self._ready(lane) for lane in range(count)]
        self.running: dict[int, Load] = {}
        self.held: set[int] = set()  # streams that wait for blocks of others to end
        self.left_s = [0.0] * count  # of each running slice, were it alone from now on
        self.speeds = [0.0] * count  # of what that falls by in a second
        self.now = 0.0

    def finish_all(self) -> None:
        while (now := min(self.when, default=inf)) < inf:
            lane = self.when.index(now)
            if lane in self.running:
                self._end(lane, now)
            else:
                self._start(lane, now)
        if any(len(ends) < len(lane) for ends, lane in zip(self.ends, self.lanes, strict=True)):
            raise ValueError("plan: lanes wait for each other in a circle")

    def _start(self, lane: int, now: float) -> None:
        self._advance(now)
        if lane not in self.held and (wait_s := self._occupied_s(lane)):
            self.held.add(lane)
            self.when[lane] = now + wait_s
            return
        self.held.discard(lane)
        load = self._load(self.lanes[lane][len(self.ends[lane])], self.parts[lane])
        self.starts[lane].append(now)
        self.running[lane], self.left_s[lane] = load, load.seconds
        self._adapt()

    def _occupied_s(self, newcomer: int) -> float:
        """Until blocks end, where no SM is free for a stream; 0 where some are, or those blocks begin just now."""
        if sum(load.share for load in self.running.values()) < 1 - NOTHING:
            return 0.0
        waits = []
        for lane, load in self.running.items():
            wave_s = load.seconds / load.waves
            done = (load.seconds - self.left_s[lane]) / wave_s % 1
            if self.speeds[lane] and not (self.apart[lane] and self.apart[newcomer]):
                waits.append((1 - done) * wave_s / self.speeds[lane] if done > NOTHING else 0.0)
        return min(waits, default=0.0)

    def _load(self, piece: Slice, part: float) -> Load:
        kernel = self.workload.tenants[piece.tenant].kernels[piece.kernel]
        variant = kernel.variants[piece.variant]
        return load_of(self.gpu, self.precision, kernel, variant, piece.hi - piece.lo, part)

    def _end(self, lane: int, now: float) -> None:
        self.ends[lane].append(now)
        self._advance(now)
        del self.running[lane]
        self._adapt()
        self.when[lane] = self._ready(lane)
        for other, waiting in enumerate(self.when):
            if waiting == inf and other not in self.running:
                self.when[other] = self._ready(other)

    def _advance(self, now: float) -> None:
        """What ran until now is done."""
        for lane in self.running:
            self.left_s[lane] -= (now - self.now) * self.speeds[lane]
        self.now = now

    def _adapt(self) -> None:
        """Stretch or shrink what is left of the running slices: the GPU is shared with others from now on.

        A slice that gets no SM ends never, until another one has ended.
        """
        got = given(self.running, self.priorities)
        traffic = sum(load.traffic for lane, load in self.running.items() if got[lane])
        for lane, load in self.running.items():
            self.speeds[lane] = load.speed(got[lane], traffic)
            left = max(0.0, self.left_s[lane])
            self.when[lane] = self.now + left / self.speeds[lane] if self.speeds[lane] else inf

    def _ready(self, lane: int) -> float:
        """When the next slice of a stream that runs nothing can start; infinity while a wait is not over."""
        done = len(self.ends[lane])
        if done == len(self.lanes[lane]):
            return inf
        at = self.ends[lane][-1] + self.gpu.gap_s if done else self.gpu.graph_s
        for wait in self.lanes[lane][done].waits:
            ends = self.ends[wait.lane]
            if len(ends) < wait.count:
                return inf
            at = max(at, ends[wait.count - 1] + self.gpu.event_s)
        return at
