"""What MetaSchedule would try next: its evolutionary search, one round of it, from all that was measured so far.

Its own cost model is left out (it wants to be kept as a pickle, and learns from failures): candidates are ranked at
random, so that a round is what evolves from the fastest schedules known, and samples that are new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.s_tir import meta_schedule as ms

from gacer_tune.kernels.emit.space import context, decided, decisions, scheduled, sketches
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.scheduled import Product, Scheduled, fault

POPULATION, SAMPLES = 96, 48
SPARE = 4  # times as many are proposed as are wanted: others would change the order of sums


def propose(
    product: Product, machine: Machine, tried: Sequence[tuple[Scheduled, float | None]], count: int, seed: int
) -> list[Scheduled]:
    """Tiles that take sums in our order, none of them tried, more than `count` where there are as many.

    tried: tiles and their seconds, None where they have failed.
    """
    strategy = ms.search_strategy.EvolutionarySearch(population_size=POPULATION, init_min_unmeasured=SAMPLES)
    tuning = context(product, machine, strategy, seed)
    database = ms.database.MemoryDatabase()
    workload, found = database.commit_workload(tuning.mod), sketches(tuning)
    for tile, seconds in ((tile, seconds) for tile, seconds in tried if seconds is not None):
        trace = decided(found[tile.space], tile)
        database.commit_tuning_record(ms.database.TuningRecord(trace, workload, [seconds], tuning.target))
    spaces, model = tuning.generate_design_space(), ms.cost_model.RandomModel(seed=seed)
    tuning.pre_tuning(SPARE * count, SPARE * count, spaces, database, model)
    candidates = tuning.generate_measure_candidates() or []
    tuning.post_tuning()
    known = {(tile.space, tile.decisions) for tile, _ in tried}
    tiles = [tile for one in candidates if (tile := _tile(one.sch, product, machine, len(found))) is not None]
    return [tile for tile in dict.fromkeys(tiles) if (tile.space, tile.decisions) not in known]


def _tile(schedule: Any, product: Product, machine: Machine, sketches_: int) -> Scheduled | None:
    """The tile that makes this schedule again, whichever sketch it is of; None where its sums have another order."""
    made, found = schedule.mod["main"], decisions(schedule.trace)
    turns = _turns(made)
    if fault(product, Scheduled(0, found, turns)):
        return None
    for space in range(sketches_):
        tile = Scheduled(space, found, turns)
        if tvm_ffi.structural_equal(scheduled(product, tile, machine), made):
            return tile
    return None


def _turns(function: Any) -> int:
    """Of the parallel loop."""
    turns = 1

    def look(loop: Any) -> None:
        nonlocal turns
        turns = int(loop.extent) if loop.kind == tirx.ForKind.PARALLEL else turns

    tvm_ffi.structural_walk(function.body, (tirx.For, look))
    return turns
