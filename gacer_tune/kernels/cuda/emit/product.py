"""Emits products of matrices: a pipeline of copies to shared memory, multiplication, and what happens to the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Expr, Function, call, local, shared, sync
from gacer_tune.kernels.cuda.emit.mma import Mma
from gacer_tune.kernels.cuda.emit.panel import WORDS, Layout, Panel, Reader, Team, all_of
from gacer_tune.kernels.cuda.emit.results import Core, results
from gacer_tune.kernels.cuda.emit.simt import Simt
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import SHARED, Product, ProductTile
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.tensor import ceildiv

Places = Callable[[Expr], tuple[Expr, ...]]


@dataclass(frozen=True, slots=True)
class Sides:
    """Readers of the two operands of product `number`, and how the right one lies in shared memory."""

    left: Reader
    right: Reader
    along: Literal["k", "n"]


def resident(product: Product, tile: ProductTile, gpu: Gpu) -> int:
    """Blocks that should share a processor: 512 threads of 64 sums each, where operands are copied in whole chunks.

    Gathering, or sums of parts beside those that are added up, would spill.
    """
    one_sum = tile.teams > 1 or product.parts(gpu) == 1
    return 512 // tile.threads if tile.warp_rows == 64 and one_sum and gpu.precision != "fp32" else 0


class ProductEmitter:
    """`sides(number)` reads one product; `index(number, row, column)` is where an element of its result is stored."""

    def __init__(self, function: Function, product: Product, tile: ProductTile, gpu: Gpu) -> None:
        self.function, self.product, self.tile, self.gpu = function, product, tile, gpu
        self.steps = product.steps(gpu)
        number, thread = (
            tirx.truncdiv(function.thread, tile.team_threads),
            tirx.truncmod(function.thread, tile.team_threads),
        )
        alone = tile.teams == 1
        self.team = Team(0 if alone else number, tile.team_threads, function.thread if alone else thread)
        self.stages = tile.stages(self.steps)

    def block(
        self, block: Expr, sides: Callable[[Expr], Sides], index: Callable[..., tuple[Expr, ...]], program: Program
    ) -> None:
        wide, high = ceildiv(self.product.n, self.tile.columns), ceildiv(self.product.m, self.tile.rows)
        column, rest = tirx.truncmod(block, wide), tirx.truncdiv(block, wide)
        row, number = tirx.truncmod(rest, high), tirx.truncdiv(rest, high)
        first = row * self.tile.rows, column * self.tile.columns
        found = sides(number)
        if found.left.whole and found.right.whole:
            self.function.resident = resident(self.product, self.tile, self.gpu)
        left = Layout("k", self.tile.rows, 0, self.gpu)
        right = Layout(found.along, self.tile.columns, self.tile.rows * WORDS, self.gpu)
        panels = (
            Panel(self.function, self.team, left, found.left, first[0]),
            Panel(self.function, self.team, right, found.right, first[1]),
        )
        core = self.core((left, right))
        parts = self.product.parts(self.gpu)
        words = self.tile.shared_words(self.steps)
        memory = shared(words, "uint32", dynamic=4 * words > SHARED)
        self.pipeline(memory, panels, core, parts)

        def finish(row: Expr, column: Expr, values: list[Expr]) -> None:
            self.finish((first[0] + row, first[1] + column), values, lambda m, n: index(number, m, n), program)

        def store() -> None:
            results(core, self.tile, self.team.thread, (memory, words), finish, self.gpu.vector)

        if self.tile.teams == 1:
            store()
            return
        gather(memory, core, self.team, self.tile.teams)
        with T.If(self.team.number == 0), T.Then():
            store()

    def core(self, layouts: tuple[Layout, Layout]) -> Core:
        if self.gpu.precision == "fp32":
            return Simt(self.team, self.tile, layouts)
        return Mma(self.team, self.tile, self.gpu, layouts)

    def pipeline(self, memory: Any, panels: tuple[Panel, Panel], core: Core, parts: int) -> None:
        """While one step is multiplied, the next ones are on their way. Parts that one team computes are added up."""
        stages, teams = self.stages, self.tile.teams
        words, steps = self.tile.stage_nbytes // 4, self.steps // teams
        mine = self.team.number * (self.tile.team_nbytes // 4)
        start = self.team.number * steps

        def fill(step: Expr) -> None:
            for panel in panels:
                panel.fill(memory, tirx.truncmod(step, stages) * words + mine, start + step)

        def turn(step: Expr) -> None:
            call(f"gt_wait<{stages - 2}>")
            sync()
            with T.If(step + (stages - 1) < steps), T.Then():
                fill(step + (stages - 1))
            call("gt_commit")
            core.step(memory, tirx.truncmod(step, stages) * words + mine)

        with T.serial(0, stages - 1) as step:
            if stages - 1 > steps:
                with T.If(step < steps), T.Then():
                    fill(step)
            else:
                fill(step)
            call("gt_commit")
        one_after_the_other(core, parts // teams, steps, turn)
        call("gt_wait<0>")
        sync()

    def finish(
        self, place: tuple[Expr, Expr], values: list[Expr], index: Callable[..., tuple[Expr, ...]], program: Program
    ) -> None:
        """Run the program on neighbours and store them, as far as they are part of the result."""
        (row, column), out = place, len(self.function.tensors) - 1
        product, width = self.product, len(values)

        def some(count: int) -> None:
            for i in range(0, width, count):
                at = index(row, column + i)
                inside = [row < product.m] if product.m % self.tile.rows else []
                inside += [column + i < product.n] if product.n % self.tile.columns else []

                def store(at: tuple[Expr, ...] = at, i: int = i) -> None:
                    done = self.function.finish_run(program, 2, at, values[i : i + count])
                    self.function.store_run(out, at, done)

                if inside:
                    with T.If(all_of(inside)), T.Then():
                        store()
                else:
                    store()

        some(width if product.n % width == 0 else 1)


def one_after_the_other(core: Core, parts: int, steps: int, turn: Callable[[Expr], None]) -> None:
    """Run turn(step) for all steps, and leave the sum of the parts' sums in the core."""
    core.clear()
    if parts == 1:
        with T.serial(0, steps) as step:
            turn(step)
        return
    total = local(core.size)
    with T.serial(0, parts) as part:
        with T.serial(0, steps // parts) as step:
            turn(part * (steps // parts) + step)
        with T.unroll(core.size) as i:
            T.buffer_store(total, T.if_then_else(part == 0, core.sums[i], total[i] + core.sums[i]), [i])
        core.clear()
    with T.unroll(core.size) as i:
        T.buffer_store(core.sums, total[i], [i])


def gather(memory: Any, core: Core, team: Team, teams: int) -> None:
    """Add the sums of all teams to those of the first one, in order. All threads of the block take part."""

    def at(number: Expr, i: Expr) -> Expr:
        return ((number - 1) * core.size + i) * team.threads + team.thread

    with T.If(team.number > 0), T.Then(), T.unroll(core.size) as i:
        T.buffer_store(memory, tirx.reinterpret("uint32", core.sums[i]), [at(team.number, i)])
    sync()
    with T.If(team.number == 0), T.Then():
        for number in range(1, teams):
            with T.unroll(core.size) as i:
                more = tirx.reinterpret("float32", memory[at(number, i)])
                T.buffer_store(core.sums, core.sums[i] + more, [i])
    sync()
