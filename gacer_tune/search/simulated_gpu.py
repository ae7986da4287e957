"""An NVIDIA GPU made of numbers: the search and the command line work on it where there is none.

A kernel holds a share W of the SMs for as long as the slower of its arithmetic and its traffic takes (a roofline); what
runs beside it takes SMs and bandwidth from it as soon as both together want more than there is. Between kernels of one
stream lies a gap, a dependency across streams costs an event. None of the figures is measured yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType

from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import Timeline, timeline_of
from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.workload import Kernel, Variant, Workload
from gacer_tune.search.simulated import SimulatedDevice

NOISE = 0.01


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
    """One slice alone on the GPU. share: W, of the SMs; the parts of its seconds that arithmetic and traffic need."""

    seconds: float
    share: float
    arithmetic: float
    traffic: float

    def slowed(self, shares: float, traffic: float) -> float:
        """Seconds beside others, when all together want these multiples of the SMs and of the bandwidth."""
        return self.seconds * max(1.0, self.arithmetic * max(1.0, shares), self.traffic * max(1.0, traffic))


def load_of(gpu: GpuModel, precision: str, kernel: Kernel, variant: Variant, blocks: int) -> Load:
    """The load of so many blocks of a kernel in a variant: they run in waves."""
    items, slots = variant.items, gpu.slots(variant.function)
    share = min(1.0, blocks / slots)
    each_s = gpu.block_s + kernel.flops / items * slots / gpu.flops_s[precision]
    arithmetic_s = -(-blocks // slots) * each_s
    full_s = kernel.nbytes * blocks / items / gpu.bytes_s
    seconds = max(arithmetic_s, full_s / min(1.0, share / gpu.saturating))
    return Load(seconds, share, arithmetic_s / seconds, full_s / seconds)


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


class _Run:
    """The streams at one moment. when[l]: the next event of stream l, the end of its slice or the start of the next."""

    def __init__(self, workload: Workload, plan: Plan, gpu: GpuModel, precision: str) -> None:
        self.workload, self.lanes, self.gpu, self.precision = workload, plan.lanes, gpu, precision
        count = len(plan.lanes)
        self.starts: list[list[float]] = [[] for _ in range(count)]
        self.ends: list[list[float]] = [[] for _ in range(count)]
        self.when = [self._ready(lane) for lane in range(count)]
        self.running: dict[int, Load] = {}
        self.lasts = [0.0] * count  # seconds of each running slice at the present speed

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
        load = self._load(self.lanes[lane][len(self.ends[lane])])
        self.starts[lane].append(now)
        self.running[lane], self.lasts[lane] = load, load.seconds
        self.when[lane] = now + load.seconds
        self._adapt(now)

    def _load(self, piece: Slice) -> Load:
        kernel = self.workload.tenants[piece.tenant].kernels[piece.kernel]
        return load_of(self.gpu, self.precision, kernel, kernel.variants[piece.variant], piece.hi - piece.lo)

    def _end(self, lane: int, now: float) -> None:
        self.ends[lane].append(now)
        del self.running[lane]
        self._adapt(now)
        self.when[lane] = self._ready(lane)
        for other, waiting in enumerate(self.when):
            if waiting == inf:
                self.when[other] = self._ready(other)

    def _adapt(self, now: float) -> None:
        """Stretch or shrink what is left of the running slices: the GPU is shared with others from now on."""
        shares = sum(load.share for load in self.running.values())
        traffic = sum(load.traffic for load in self.running.values())
        for lane, load in self.running.items():
            lasts = load.slowed(shares, traffic)
            self.when[lane] = now + (self.when[lane] - now) * lasts / self.lasts[lane]
            self.lasts[lane] = lasts

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
