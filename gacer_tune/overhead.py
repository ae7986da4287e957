"""What running a plan costs beyond its kernels, measured on an artifact."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gacer_tune.devices.bench import Bench
from gacer_tune.devices.checked import CheckedBench
from gacer_tune.devices.cuda.bench import CudaBench
from gacer_tune.executor.cuda.session import CudaSession
from gacer_tune.runtime import Module, load

RUNS = 15


@dataclass(frozen=True, slots=True)
class Overhead:
    """Medians over runs of the sequential plan on one lane; handover_s: between lanes, 0 where there is one lane.

    On a GPU all of it is on the device: without copies of inputs and outputs, without the launch of the graph.
    """

    wall_s: float
    kernels_s: float
    handover_s: float

    @property
    def ratio(self) -> float:
        """Wall time over the sum of the kernels' own times."""
        return self.wall_s / self.kernels_s


def overhead(folder: Path) -> Overhead:
    """Run the sequential schedule of an artifact on one lane; what is not in its kernels is ours."""
    bench = bench_of(load(folder))
    loaded = bench.load(bench.lone())
    marked = loaded if isinstance(bench, Bench) else bench.load_marked(bench.lone())  # on a GPU marks take time
    walls, sums = [], []
    for _ in range(RUNS):
        walls.append(bench.seconds(loaded))
        if marked is not loaded:
            bench.seconds(marked)
        sums.append(sum(end - begin for lane in bench.spans(marked) for begin, end in lane))
    return Overhead(statistics.median(walls), statistics.median(sums), bench.handover())


def bench_of(module: Module) -> CheckedBench[Any]:
    """Measures on the device of a loaded artifact; its module has no other functions than those of its schedules."""
    variants = module.artifact.schedules["sequential"].variants
    if isinstance(module.session, CudaSession):
        return CudaBench(module.session, variants)
    return Bench(module.session, variants)
