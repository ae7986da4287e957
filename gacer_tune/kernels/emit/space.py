"""What MetaSchedule may decide about a product, and what its decisions make of it.

Sketches and rewrites are those that TVM has for CPUs, but for two: partial sums of a reduction are never kept apart,
and results are always gathered in a tile of their own, from which they are finished and stored.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import tvm
from tvm import s_tir, te, tirx
from tvm.s_tir import meta_schedule as ms

from gacer_tune.kernels.emit.compile import target_of
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.scheduled import UNROLL, Product, Scheduled, fault

INTRINSICS = "tvm.s_tir.tensor_intrin"
TURNS = 16  # of the parallel loop for each core, at most
LANES = 2  # a kernel has as many work items on every machine: schedules are carried from one to another


class NotScheduledError(ValueError):
    """These decisions are none of this product's, or make something else than one parallel loop."""


def definition(product: Product) -> tirx.PrimFunc:
    """source (n, h, w, groups, c), weight (groups, vectors, taps, c), out as in Product; rows of taps first."""
    (_, height, width, groups, vectors), (rows, columns) = product.output, product.taps
    (down, right), (below, beside) = product.stride, product.dilation
    tall, wide = (height - 1) * down + (rows - 1) * below + 1, (width - 1) * right + (columns - 1) * beside + 1
    source = te.placeholder((product.output[0], tall, wide, groups, product.channels), name="source")
    weight = te.placeholder((groups, vectors, rows * columns, product.channels), name="weight")
    tap, channel = te.reduce_axis((0, rows * columns), "tap"), te.reduce_axis((0, product.channels), "channel")

    def value(n: Any, y: Any, x: Any, group: Any, vector: Any) -> Any:
        at = (n, y * down + tap // columns * below, x * right + tap % columns * beside, group, channel)
        return te.sum(source[at] * weight[group, vector, tap, channel], axis=[tap, channel])

    out = te.compute(product.output, value, name="product")
    return te.create_prim_func([source, weight, out]).with_attr("global_symbol", "main")


def context(product: Product, machine: Machine, strategy: Any = None, seed: int = 1) -> Any:
    """MetaSchedule's context of a product."""
    target = tvm.target.Target({**target_of(machine).export(), "num-cores": LANES})
    gathered = ms.schedule_rule.ReuseType(req="must", levels=[1, 2], scope="global")
    generator = ms.space_generator.PostOrderApply(
        sch_rules=[
            ms.schedule_rule.MultiLevelTiling("SSRSRS", max_innermost_factor=64, reuse_write=gathered),
            ms.schedule_rule.ParallelizeVectorizeUnroll(
                max_jobs_per_core=TURNS, max_vectorize_extent=-1, unroll_max_steps=list(UNROLL)
            ),
        ],
        postprocs=[
            ms.postproc.DisallowDynamicLoop(),
            ms.postproc.RewriteParallelVectorizeUnroll(),
            ms.postproc.RewriteReductionBlock(),
        ],
        mutator_probs={
            ms.mutator.MutateTileSize(): 0.9,
            ms.mutator.MutateUnroll(): 0.05,
            ms.mutator.MutateParallel(max_jobs_per_core=TURNS): 0.05,
        },
    )
    module = tvm.IRModule({"main": definition(product)})
    with _without_intrinsics():
        return ms.TuneContext(
            module, target=target, space_generator=generator, search_strategy=strategy, rand_state=seed, num_threads=1
        )


@contextmanager
def _without_intrinsics() -> Iterator[None]:
    """TuneContext imports the tensor intrinsics of all processors, which takes 20 s; none is used here."""
    if INTRINSICS in sys.modules:
        yield
        return
    sys.modules[INTRINSICS] = ModuleType(INTRINSICS)
    try:
        yield
    finally:
        del sys.modules[INTRINSICS]


def sketches(tuning: Any) -> list[Any]:
    """Traces without decisions of the user's, one for each level at which results are gathered."""
    return [schedule.trace for schedule in tuning.generate_design_space()]


def decided(sketch: Any, tile: Scheduled) -> Any:
    """The trace of a sketch with the decisions of a tile."""
    open_ones = [step for step in sketch.insts if step in sketch.decisions]
    for step, decision in zip(open_ones, tile.decisions, strict=True):
        choice = decision[0] if step.kind.name == "SampleCategorical" else list(decision)
        sketch = sketch.with_decision(step, choice, True)
    return sketch


def decisions(trace: Any) -> tuple[tuple[int, ...], ...]:
    """What a trace has decided, in order."""
    found = [trace.decisions[step] for step in trace.insts if step in trace.decisions]
    return tuple((int(one),) if isinstance(one, (int, tirx.IntImm)) else tuple(map(int, one)) for one in found)


def scheduled(product: Product, tile: Scheduled, machine: Machine) -> tirx.PrimFunc:
    """The definition with its loops arranged. Raises NotScheduledError."""
    if why := fault(product, tile):
        raise NotScheduledError(why)
    tuning = context(product, machine)
    found = sketches(tuning)
    if not 0 <= tile.space < len(found):
        raise NotScheduledError(f"sketch {tile.space}, there are {len(found)}")
    schedule, trace = s_tir.Schedule(tuning.mod), decided(found[tile.space], tile)
    try:
        trace.apply_to_schedule(schedule, remove_postproc=True)
    except (s_tir.ScheduleError, ValueError, RuntimeError) as error:
        raise NotScheduledError(str(error)) from error
    if not all(rewrite.apply(schedule) for rewrite in tuning.space_generator.postprocs):
        raise NotScheduledError("MetaSchedule rejects it")
    return schedule.mod["main"]
