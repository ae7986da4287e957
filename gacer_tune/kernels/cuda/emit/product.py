"""Emits products of matrices: a pipeline of copies to shared memory, multiplication, and what happens to the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Expr, Function, call, shared, sync
from gacer_tune.kernels.cuda.emit.mma import Mma
from gacer_tune.kernels.cuda.emit.panel import WORDS, Layout, Panel, Reader, all_of
from gacer_tune.kernels.cuda.emit.simt import Simt
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import Product, ProductTile
from gacer_tune.kernels.program import Program
from gacer_tune.kernels.tensor import ceildiv

Places = Callable[[Expr], tuple[Expr, ...]]


@dataclass(frozen=True, slots=True)
class Sides:
    """Readers of the two operands of product `number`, and how the right one lies in shared memory."""

    left: Reader
    right: Reader
    along: Literal["k", "n"]


class ProductEmitter:
    """`sides(number)` reads one product; `index(number, row, column)` is where an element of its result is stored."""

    def __init__(self, function: Function, product: Product, tile: ProductTile, gpu: Gpu) -> None:
        self.function, self.product, self.tile, self.gpu = function, product, tile, gpu
        self.steps = product.steps(gpu)
        self.stages = tile.stages(self.steps)

    def block(
        self, block: Expr, sides: Callable[[Expr], Sides], index: Callable[..., tuple[Expr, ...]], program: Program
    ) -> None:
        wide, high = ceildiv(self.product.n, self.tile.columns), ceildiv(self.product.m, self.tile.rows)
        column, rest = tirx.truncmod(block, wide), tirx.truncdiv(block, wide)
        row, number = tirx.truncmod(rest, high), tirx.truncdiv(rest, high)
        first = row * self.tile.rows, column * self.tile.columns
        found = sides(number)
        left = Layout("k", self.tile.rows, 0, self.gpu)
        right = Layout(found.along, self.tile.columns, self.tile.rows * WORDS, self.gpu)
        panels = (
            Panel(self.function, left, found.left, first[0]),
            Panel(self.function, right, found.right, first[1]),
        )
        core = self.core((left, right))
        memory = shared(max(self.stages * self.tile.stage_nbytes // 4, core.words(self.tile)), "uint32")
        core.clear()
        self.pipeline(memory, panels, core)

        def finish(row: Expr, column: Expr, values: list[Expr]) -> None:
            self.finish((first[0] + row, first[1] + column), values, lambda m, n: index(number, m, n), program)

        core.results(memory, finish)

    def core(self, layouts: tuple[Layout, Layout]) -> Mma | Simt:
        if self.gpu.precision == "fp32":
            return Simt(self.function, self.tile, layouts)
        return Mma(self.function, self.tile, self.gpu, layouts)

    def pipeline(self, memory: Any, panels: tuple[Panel, Panel], core: Mma | Simt) -> None:
        """While one step is multiplied, the next ones are on their way."""
        words, stages, steps = self.tile.stage_nbytes // 4, self.stages, self.steps

        def fill(step: Expr) -> None:
            for panel in panels:
                panel.fill(memory, tirx.truncmod(step, stages) * words, step)

        for step in range(stages - 1):
            if step < steps:
                fill(tirx.const(step, "int32"))
            call("gt_commit")
        with T.serial(0, steps) as step:
            call(f"gt_wait<{stages - 2}>")
            sync()
            ahead = step + (stages - 1)
            with T.If(ahead < steps), T.Then():
                fill(ahead)
            call("gt_commit")
            core.step(memory, tirx.truncmod(step, stages) * words)
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
