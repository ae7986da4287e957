"""What running a plan costs beyond its kernels, measured on an artifact."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from gacer_tune.artifact import require_cpu
from gacer_tune.devices.bench import Bench
from gacer_tune.runtime import load

RUNS = 15


@dataclass(frozen=True, slots=True)
class Overhead:
    """Medians over runs of the sequential plan on one lane; handover_s: between lanes, 0 where there is one lane."""

    wall_s: float
    kernels_s: float
    handover_s: float

    @property
    def ratio(self) -> float:
        """Wall time over the sum of the kernels' own times."""
        return self.wall_s / self.kernels_s


def overhead(folder: Path) -> Overhead:
    """Run the sequential schedule of an artifact on one lane; what is not in its kernels is ours."""
    module = load(folder)
    require_cpu(module.artifact, "the overhead of lanes")
    bench = Bench(module.session, module.artifact.schedules["sequential"].variants)
    loaded = bench.load(bench.sequential(1))
    walls, sums = [], []
    for _ in range(RUNS):
        walls.append(bench.seconds(loaded))
        sums.append(float((loaded.times[:, 1] - loaded.times[:, 0]).sum()) / bench.hertz)
    return Overhead(statistics.median(walls), statistics.median(sums), bench.handover())
