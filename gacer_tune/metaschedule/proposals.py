"""What MetaSchedule would try next: its evolutionary search, one round of it, from all that was measured so far.

Its own cost model is left out (it wants to be kept as a pickle, and learns from failures). Candidates are ranked by
XGBoost on the sizes of their tiles, fitted to the times of this kernel; before there are enough of them, at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm_ffi
import xgboost
from numpy.typing import NDArray
from tvm import tirx
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms

from gacer_tune.kernels.emit.space import context, decided, decisions, scheduled, sketches
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.scheduled import Product, Scheduled, fault

POPULATION, SAMPLES, GENERATIONS = 64, 32, 3
SPARE = 4  # times as many are proposed as are wanted: some would change the order of sums
ENOUGH, TREES = 8, 60  # times to learn from

Tried = Sequence[tuple[Scheduled, float | None]]
Floats = NDArray[np.float64]


def propose(product: Product, machine: Machine, tried: Tried, count: int, seed: int) -> list[Scheduled]:
    """Tiles that take sums in our order, none of them tried, more than `count` where there are as many.

    tried: tiles and their seconds, None where they have failed.
    """
    strategy = ms.search_strategy.EvolutionarySearch(
        population_size=POPULATION, init_min_unmeasured=SAMPLES, genetic_num_iters=GENERATIONS
    )
    tuning = context(product, machine, strategy, seed)
    database = ms.database.MemoryDatabase()
    workload, found = database.commit_workload(tuning.mod), sketches(tuning)
    timed = [(tile, seconds) for tile, seconds in tried if seconds is not None]
    for tile, seconds in timed:
        trace = decided(found[tile.space], tile)
        database.commit_tuning_record(ms.database.TuningRecord(trace, workload, [seconds], tuning.target))
    model = _Ranking(product, timed, seed)
    tuning.pre_tuning(SPARE * count, SPARE * count, tuning.generate_design_space(), database, model)
    candidates = tuning.generate_measure_candidates() or []
    tuning.post_tuning()
    known = {(tile.space, tile.decisions) for tile, _ in tried}
    tiles = dict.fromkeys(_tile(one.sch, product, machine, len(found)) for one in candidates)
    return [one for one in tiles if one is not None and (one.space, one.decisions) not in known]


@derived_object
class _Ranking(ms.cost_model.PyCostModel):  # type: ignore[misc]
    """Scores above 0, the higher the better: predicted speeds; next to nothing for what would be dropped anyway."""

    def __init__(self, product: Product, timed: Sequence[tuple[Scheduled, float]], seed: int) -> None:
        super().__init__()
        self.product, self.random, self.trees = product, np.random.default_rng(seed), None
        if len(timed) >= ENOUGH:
            seconds = np.array([s for _, s in timed])
            rows = np.array([features(tile.decisions) for tile, _ in timed])
            parameters = {"max_depth": 4, "eta": 0.2, "nthread": 1, "seed": seed, "verbosity": 0}
            self.trees = xgboost.train(parameters, xgboost.DMatrix(rows, np.log(seconds.min() / seconds)), TREES)

    def predict(self, context: Any, candidates: Sequence[Any]) -> Floats:  # noqa: ARG002 - the signature of TVM
        found = [decisions(one.sch.trace) for one in candidates]
        legal = np.array([not fault(self.product, Scheduled(0, one, 1)) for one in found])
        if self.trees is None or not found:
            scores = self.random.random(len(found)) + 0.01
        else:
            rows = xgboost.DMatrix(np.array([features(one) for one in found]))
            scores = np.exp(self.trees.predict(rows).astype(np.float64))
        return np.where(legal, scores, 1e-3)

    def update(self, context: Any, candidates: Any, results: Any) -> None:
        """One round is all there is."""

    def load(self, path: str) -> None:
        """Nothing is kept."""

    def save(self, path: str) -> None:
        """Nothing is kept."""


def features(made: Sequence[Sequence[int]]) -> list[float]:
    """Sizes of all tiles as powers of two, and the step of unrolling."""
    *tiles, unrolling = made
    return [*(float(np.log2(size)) for tile in tiles for size in tile), float(unrolling[0])]


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
