"""A simulated GPU with all that tuning asks of a device besides what the search does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gacer_tune.devices.child import Limits
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.device import Pairs
from gacer_tune.search.simulated_gpu import SimulatedGpu
from gacer_tune.search.trial import Failure, Timing


@dataclass
class GpuStandIn:
    """Stands where a `ChildDevice` stands. Nothing runs, so there are no limits to keep and no outputs to check."""

    gpu: SimulatedGpu
    limits: Limits = field(default_factory=Limits)

    @property
    def lanes(self) -> int:
        return self.gpu.lanes

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = float("inf")) -> Timing | Failure:
        return self.gpu.measure(schedule, repeats, give_up_s)

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        return self.gpu.compare(a, b, pairs)

    def trace(self, schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of one run."""
        plan = lower(self.gpu.workload, schedule)
        timeline = self.gpu.timeline(plan)
        return [
            (piece.tenant, piece.kernel, lane, begin, end)
            for lane, slices in enumerate(plan.lanes)
            for piece, begin, end in zip(slices, timeline.starts_s[lane], timeline.ends_s[lane], strict=True)
        ]

    def outputs(self, path: Path) -> float:
        """A simulation has none; times are in seconds already."""
        del path
        return 1.0

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> GpuStandIn:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
