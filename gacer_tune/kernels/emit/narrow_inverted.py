"""Emits `NarrowInverted` kernels; see gacer_tune.kernels.narrow_inverted for what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import block_of, part, pieces, sized, unravel
from gacer_tune.kernels.emit.depthwise import Sliding
from gacer_tune.kernels.emit.function import Function, Index, loop
from gacer_tune.kernels.emit.inverted import Place, Stage
from gacer_tune.kernels.emit.narrow import Product
from gacer_tune.kernels.emit.planes import Strip
from gacer_tune.kernels.emit.tiles import Lines, Tiles
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.narrow import BLOCK
from gacer_tune.kernels.narrow_inverted import NarrowInverted, NarrowInvertedTile, blocks, projected, widened
from gacer_tune.kernels.planes import PlaneTile
from gacer_tune.kernels.tensor import Tensor, ceildiv

Expr = Any
SOURCE = 0


@dataclass(frozen=True)
class _Scratch:
    """An operand that lies in scratch, and where its elements are."""

    lines: Lines
    dtype: str
    place: Place


def emit(spec: NarrowInverted, tile: NarrowInvertedTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands as `NarrowInverted.tensors` has them."""
    function = Function(name, spec.tensors(machine), machine)
    return function.build(lambda item: _Item(spec, tile, machine, function, item).emit())


class _Item:
    """One work item. A block is of channels."""

    def __init__(
        self, spec: NarrowInverted, tile: NarrowInvertedTile, machine: Machine, function: Function, item: Expr
    ) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        (images, height, _, channels), window = spec.depthwise.out.shape, spec.depthwise.window
        count = blocks(spec, tile)
        self.image, block = unravel(item, (images, count)) if images > 1 else (0, item)
        self.first, self.rows = T.bind(block * tile.rows), part(height, tile.rows, block, count)
        self.top = T.bind(tirx.max(self.first * window.stride[0] - window.pad[0], 0))  # the first row that it reads
        self.blocks = ceildiv(channels, BLOCK)
        self.wide = Lines(widened(spec, tile).columns * BLOCK if spec.expand is not None else 0, "float32")

    def emit(self) -> None:
        expand, project = self.expand(), self.project()
        tiles = Tiles(self.machine)
        with loop(self.blocks) as block:
            if expand is not None:
                with loop(expand.panel.steps) as step:
                    expand.add_up(tiles, block, step)
            self.slide(block, project)
        if project is not None:
            project.multiply(tiles, partial(block_of, project.spec.blocks, project.tile.blocks, 0))
        tiles.release()

    def expand(self) -> Product | None:
        """The first product, whose results go to scratch."""
        spec = self.spec.expand
        if spec is None:
            return None
        _, height, width, _ = self.spec.depthwise.source.shape
        first = (self.image * height + self.top) * width

        def place(index: Index) -> Index:
            return (self.wide.start + (index[2] - first) * BLOCK + (index[3] & (BLOCK - 1)),)

        stage = self.stage([*range(2 + len(spec.program.operands)), _Scratch(self.wide, "float32", place)])
        found = Product(spec, widened(self.spec, self.tile), self.machine, stage, (0, 0, first))
        if not spec.direct:
            found.gather()
        return found

    def project(self) -> Product | None:
        """The last product, whose pixels are what the window makes."""
        spec = self.spec.project
        if spec is None:
            return None
        _, height, width, channels = self.spec.depthwise.out.shape
        last = len(self.function.tensors)
        stage = self.stage([SOURCE, *range(last - 2 - len(spec.program.operands), last)])  # its panel is the source
        first = 0, 0, (self.image * height + self.first) * width
        found = Product(spec, projected(self.spec, self.tile), self.machine, stage, first, self.rows * width)
        if channels % BLOCK:
            with loop(found.tile.columns) as pixel:
                found.zeros(found.line((0, 0), self.blocks - 1, pixel))
        return found

    def slide(self, block: Expr, project: Product | None) -> None:
        """The depthwise convolution of a block."""
        spec, expand = self.spec.depthwise, self.spec.expand
        wide, width = spec.source.shape[2], spec.out.shape[2]
        count, first = len(spec.program.operands), 1 if expand is None else 2 + len(expand.program.operands)

        def read(index: Index) -> Index:
            _, row, column, channel = index
            return (self.wide.start + ((row - self.top) * wide + column) * BLOCK + channel - block * BLOCK,)

        def written(index: Index) -> Index:
            assert project is not None
            _, row, column, channel = index
            line = project.line((0, 0), block, (row - self.first) * width + column)
            return (project.pixels.start + line + channel - block * BLOCK,)

        source = SOURCE if expand is None else _Scratch(self.wide, "float32", read)
        out = first + 1 + count if project is None else _Scratch(project.pixels, "bfloat16", written)
        stage = self.stage([source, *range(first, first + 1 + count), out])
        tile = PlaneTile(1, self.tile.columns, self.tile.rows, 1, "ohw")
        sliding = Sliding(spec, tile, self.machine, stage)

        def rows(channels: int) -> None:
            parts = pieces(0, channels, self.machine.vector)
            with loop(self.rows) as row:
                sliding.strip(Strip(self.image, self.first + row, block * BLOCK, parts))

        sized(block, spec.out.shape[3], BLOCK, rows)

    def stage(self, operands: Sequence[int | _Scratch]) -> Stage:
        """Operands by their numbers in the kernel, or in scratch."""
        tensors, buffers, places = [], [], {}
        for number, one in enumerate(operands):
            if isinstance(one, _Scratch):
                tensors.append(Tensor((1,), (1,), one.dtype))
                buffers.append(one.lines.buffer)
                places[number] = one.place
            else:
                tensors.append(self.function.tensors[one])
                buffers.append(self.function.buffers[one])
        return Stage(tensors, buffers, places, self.machine)
