"""Runs two artifacts in turns in this process: their outputs on the same inputs, and their times in pairs.

Both use the same worker threads and cores, or the same GPU, so whatever the machine does meanwhile happens to both
alike. Who goes first alternates from pair to pair. A turn begins with untimed runs, after which threads are awake and
weights are where they are in steady work; its result is the median of as many runs as fit into SAMPLE_S.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gacer_tune.bench.others import Usage
from gacer_tune.checking import Difference, allowed, relative_error
from gacer_tune.inputs import sample
from gacer_tune.regression.times import Run
from gacer_tune.report.units import clock_text

if TYPE_CHECKING:
    from pathlib import Path

    from gacer_tune.runtime import Module

WAKE_S = 0.003
SAMPLE_S = 0.01
MOST_RUNS = 25
_LOOKS = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """pairs: (baseline, new); outputs: of the new artifact against the baseline's; others: cores that other processes
    kept busy meanwhile.
    """

    pairs: tuple[tuple[Run, Run], ...]
    outputs: tuple[Difference, ...]
    others: float


def measure(baseline: Path, out: Path, pairs: int, seed: int, say: Say) -> Measured:
    """Both must have the same tenants with the same inputs and outputs. Tenants' times are in the baseline's order.

    Raises UserError for an artifact that this machine cannot load.
    """
    from gacer_tune.runtime import load

    one, other = load(baseline), load(out)
    inputs = {tenant.name: sample(tenant, seed) for tenant in one.workload.tenants}
    most = {t.name: max(allowed(t, m.artifact.precision) for m in (one, other)) for t in one.workload.tenants}
    differences = _differences(one.run(inputs), other.run(inputs), most)
    turns = _Turns(one, one.tenants), _Turns(other, one.tenants)
    seconds = sum(turn.runs * turn.run_s + max(WAKE_S, turn.run_s) for turn in turns)
    say(f"{pairs} interleaved pairs, about {clock_text(max(1.0, pairs * seconds))}")
    before = Usage.now()
    found = []
    for number in range(pairs):
        first, second = (turn.take() for turn in (turns[::-1] if number % 2 else turns))
        found.append((second, first) if number % 2 else (first, second))
    return Measured(tuple(found), differences, Usage.now().others_since(before))


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], most: Mapping[str, float]
) -> tuple[Difference, ...]:
    return tuple(
        Difference(tenant, name, relative_error(array, before[tenant][name]), most[tenant])
        for tenant, row in after.items()
        for name, array in row.items()
    )


class _Turns:
    """One artifact, with its inputs already in place; tenants' times are given in the order of `names`."""

    def __init__(self, module: Module, names: list[str]) -> None:
        self._clock = _gpu_clock(module) if module.workload.target == "cuda" else _cpu_clock(module)
        self._order = [module.tenants.index(name) for name in names]
        self.run_s = statistics.median(self._run().seconds for _ in range(_LOOKS))
        self.runs = max(1, min(MOST_RUNS, round(SAMPLE_S / self.run_s)))

    def take(self) -> Run:
        began = time.perf_counter()
        self._run()
        while time.perf_counter() - began < WAKE_S:
            self._run()
        runs = [self._run() for _ in range(self.runs)]
        tenants = zip(*(run.tenants_s for run in runs), strict=True)
        return Run(statistics.median(run.seconds for run in runs), tuple(map(statistics.median, tenants)))

    def _run(self) -> Run:
        run = self._clock()
        return Run(run.seconds, tuple(run.tenants_s[tenant] for tenant in self._order))


def _cpu_clock(module: Any) -> Callable[[], Run]:
    """Runs once; a tenant is done after its share of the cycles from the first slice to the last one."""
    session, loaded = module.session, module.loaded("best")
    owners = np.array([piece.tenant for piece in loaded.table.slices])
    rows = [np.flatnonzero(owners == tenant) for tenant in range(len(module.tenants))]

    def run() -> Run:
        began = time.perf_counter()
        session.run(loaded)
        seconds = time.perf_counter() - began
        times = loaded.times
        if not len(times):
            return Run(seconds, (0.0,) * len(rows))
        begin, end = int(times[:, 0].min()), int(times[:, 1].max())
        ends = (int(times[own, 1].max()) if len(own) else begin for own in rows)
        return Run(seconds, tuple(seconds * (last - begin) / max(1, end - begin) for last in ends))

    return run


def _gpu_clock(module: Any) -> Callable[[], Run]:
    """Runs once on the device, without copies of inputs and outputs, between events that are recorded there."""
    session = module.session
    loaded = session.load(module.plan("best"), "tenants")

    def run() -> Run:
        seconds = session.seconds(loaded)
        done = [0.0] * len(module.tenants)
        for (piece, _, mark, _), at in zip(loaded.stamps, session.times(loaded), strict=True):
            if mark.behind:
                done[piece.tenant] = max(done[piece.tenant], at)
        return Run(seconds, tuple(done))

    return run
