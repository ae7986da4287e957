"""Times every variant of every kernel on this machine, and how much kernels that overlap slow each other down.

All of it inside runs of the whole workload, so that operands are as cold as they will be. A first look at every
variant tells which ones could still be chosen; only these are timed again, over several rounds, and the median counts.
The shortest of many times would flatter short kernels: they fit between disturbances, long ones do not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gacer_tune.cost_model.interference import Interference, Pair, demand, fit_interference
from gacer_tune.cost_model.profile import Profile, Rows
from gacer_tune.executor.session import Loaded
from gacer_tune.ir.schedule import Cluster, Schedule, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.selection import Chosen, contenders

if TYPE_CHECKING:
    from gacer_tune.devices.bench import Bench

RUNS = 3  # of each plan in a round
WARM_S = 0.05  # a longer run leaves nothing of the one before in the caches, and needs none that warms up
LEAST_ROUNDS, MOST_ROUNDS = 2, 10
ENOUGH_S = 4.0  # no further round is begun after this
PAIR_RUNS, FASTEST = 8, 3
_LATE = (0.0, 0.25, 0.5, 0.75)  # share of the other tenants' ops that run before the late tenant begins
_MOST_LATE = 3  # tenants that are late in turn

Cycles = NDArray[np.float64]


@dataclass
class _Timed:
    """A plan, the time of each of its rows in every run so far, and that of the last run that warmed up, in seconds."""

    loaded: Loaded
    runs: list[Cycles] = field(default_factory=list)
    seconds: float = 0.0


def profile(bench: Bench) -> Profile:
    """All that the timeline wants to know: variants alone and cut over all lanes, hand-over, launch, interference."""
    workload, lanes = bench.workload, len(bench.session.cpus)
    began = time.perf_counter()
    every = tuple(tuple(tuple(range(len(k.variants))) for k in tenant.kernels) for tenant in workload.tenants)
    plans = _plans(bench, every)
    for timed in chain(*plans):
        _run(bench, timed, 1)
    first = Profile(_rows(workload, plans[0]), _rows(workload, plans[-1]))
    again = _plans(bench, contenders(workload, first, lanes))
    for done in range(MOST_ROUNDS):
        if done >= LEAST_ROUNDS and time.perf_counter() - began > ENOUGH_S:
            break
        for timed in chain(*again):
            _run(bench, timed, RUNS)
    alone, shared = (_rows(workload, (*plans[which], *again[which])) for which in (0, -1))
    return Profile(alone, shared, bench.handover(), bench.launch(), measure_interference(bench, alone))


def _plans(bench: Bench, chosen: Chosen) -> list[list[_Timed]]:
    """Sequential plans on one lane, and on all if there are more, that together have the chosen variants."""
    most = max((len(row) for rows in chosen for row in rows), default=1)
    nth = [tuple(tuple(row[n % len(row)] for row in rows) for rows in chosen) for n in range(most)]
    return [
        [_Timed(bench.load(replace(sequential(bench.workload, lanes), variants=variants))) for variants in nth]
        for lanes in sorted({1, len(bench.session.cpus)})
    ]


def most_variants(workload: Workload) -> int:
    """Of any kernel."""
    return max((len(k.variants) for tenant in workload.tenants for k in tenant.kernels), default=1)


def nth_variants(workload: Workload, variant: int) -> tuple[tuple[int, ...], ...]:
    """The given variant of every kernel, or its last one where it has fewer."""
    return tuple(tuple(min(variant, len(k.variants) - 1) for k in tenant.kernels) for tenant in workload.tenants)


def with_variant(workload: Workload, lanes: int, variant: int) -> Schedule:
    """The sequential schedule with these variants."""
    return replace(sequential(workload, lanes), variants=nth_variants(workload, variant))


def measure_interference(bench: Bench, alone: Rows) -> Interference:
    """From runs in which the tenants, each uncut on a lane, meet each other at several offsets; nothing measured for
    one tenant or one lane."""
    workload, lanes = bench.workload, len(bench.session.cpus)
    if lanes < 2 or len(workload.tenants) < 2:
        return Interference()
    fastest = tuple(tuple(row.index(min(row)) for row in rows) for rows in alone)
    base = bench.load(replace(sequential(workload, 1), variants=fastest))
    times = _typical(_fastest_runs(bench, base))
    usual = {(s.tenant, s.kernel): float(x) for s, x in zip(base.table.slices, times, strict=True)}
    pairs: list[Pair] = []
    for number, schedule in enumerate(meetings(workload, lanes, fastest)):
        loaded = bench.load(schedule)
        pairs += _pairs(workload, loaded, _fastest_runs(bench, loaded), usual, number)
    return fit_interference(pairs)


def meetings(workload: Workload, lanes: int, variants: tuple[tuple[int, ...], ...]) -> Iterator[Schedule]:
    """Each tenant uncut on one lane; one of them begins late, so that other kernels meet."""
    count = len(workload.tenants)
    cluster = Cluster(tuple((t % lanes,) for t in range(count)), tuple(range(count)))
    plain = replace(sequential(workload, lanes), clusters=(cluster,), variants=variants)
    yield plain
    for late in range(min(count, _MOST_LATE)):
        for share in _LATE[1:]:
            pointers = tuple(
                (0 if t == late else round(share * len(tenant.ops)),) for t, tenant in enumerate(workload.tenants)
            )
            yield replace(plain, pointers=pointers, clusters=(cluster, cluster))


def _pairs(
    workload: Workload, loaded: Loaded, runs: list[Cycles], usual: dict[tuple[int, int], float], number: int
) -> Iterator[Pair]:
    """One for each slice that others overlapped, by the fastest run."""
    slices, cycles, typical = loaded.table.slices, runs[0], _typical(runs)
    lanes = np.repeat(np.arange(len(loaded.plan.lanes)), [len(lane) for lane in loaded.plan.lanes])
    alone = np.array([usual[piece.tenant, piece.kernel] for piece in slices])
    demands = np.array(
        [
            demand(workload.tenants[piece.tenant], workload.tenants[piece.tenant].kernels[piece.kernel], seconds)
            for piece, seconds in zip(slices, alone.tolist(), strict=True)
        ]
    )
    for row, (begin, end) in enumerate(cycles):
        both = np.minimum(cycles[:, 1], end) - np.maximum(cycles[:, 0], begin)
        share = np.where(lanes != lanes[row], np.clip(both, 0.0, None), 0.0) / max(end - begin, 1e-12)
        if alone[row] > 0 and share.sum() > 0:
            yield Pair(number, alone[row], typical[row], demands[row], float(share.sum()), float(share @ demands))


def _typical(runs: Sequence[Cycles]) -> Cycles:
    """Median seconds of each row."""
    return np.asarray(np.median([cycles[:, 1] - cycles[:, 0] for cycles in runs], axis=0))


def _fastest_runs(bench: Bench, loaded: Loaded) -> list[Cycles]:
    """Start and end of each row, in seconds, of the runs that were over first, the fastest first."""
    runs = []
    for _ in range(PAIR_RUNS + 1):
        bench.session.run(loaded)
        runs.append((loaded.times - loaded.times.min()) / bench.hertz)
    return sorted(runs[1:], key=lambda cycles: float(cycles.max()))[:FASTEST]


def _run(bench: Bench, timed: _Timed, runs: int) -> None:
    """Time so many runs, after one that warms up: what is run for the first time is mapped by it, too.

    The first run of a plan that takes long is one of them: what is mapped is little beside it.
    """
    if timed.seconds <= WARM_S:
        timed.seconds = bench.seconds(timed.loaded)
        if timed.seconds > WARM_S:
            _note(bench, timed)
            runs -= 1
    for _ in range(runs):
        bench.session.run(timed.loaded)
        _note(bench, timed)


def _note(bench: Bench, timed: _Timed) -> None:
    """The times of the last run."""
    timed.runs.append((timed.loaded.times[:, 1] - timed.loaded.times[:, 0]) / bench.hertz)


def _rows(workload: Workload, plans: Sequence[_Timed]) -> Rows:
    """Seconds of each variant: its slices' times added up, the median over all runs of the plans that have it."""
    found: dict[tuple[int, int, int], list[float]] = {}
    for timed in plans:
        pieces = [(piece.tenant, piece.kernel, piece.variant) for piece in timed.loaded.table.slices]
        for times in timed.runs:
            sums: dict[tuple[int, int, int], float] = {}
            for place, seconds in zip(pieces, times.tolist(), strict=True):
                sums[place] = sums.get(place, 0.0) + seconds
            for place, seconds in sums.items():
                found.setdefault(place, []).append(seconds)
    return tuple(
        tuple(
            tuple(statistics.median(found[t, k, v]) for v in range(len(kernel.variants)))
            for k, kernel in enumerate(tenant.kernels)
        )
        for t, tenant in enumerate(workload.tenants)
    )
