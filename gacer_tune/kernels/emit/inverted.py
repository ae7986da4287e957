"""Emits `Inverted` kernels; see gacer_tune.kernels.inverted for what a variant is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.emit.blocks import part, pieces, tiles
from gacer_tune.kernels.emit.conv2d import Channels, Convolution
from gacer_tune.kernels.emit.depthwise import Sliding
from gacer_tune.kernels.emit.function import Function, Index, loop
from gacer_tune.kernels.emit.planes import Strip
from gacer_tune.kernels.inverted import Inverted, InvertedTile, blocks, middle, ring
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.planes import PlaneTile
from gacer_tune.kernels.tensor import Tensor, ceildiv

Expr = Any
Place = Callable[[Index], Index]
Rows = tuple[Expr, Expr]  # first, count


class Stage(Function):
    """One part's view of the operands; `places` says where the elements lie of those that are in scratch."""

    def __init__(
        self,
        tensors: Sequence[Tensor],
        buffers: Sequence[Any],
        places: Mapping[int, Place],
        machine: Machine | None = None,
    ) -> None:
        super().__init__("", tensors, machine)
        self.buffers, self.places = list(buffers), places

    def load(self, operand: int, index: Index, width: int = 1) -> Expr:
        return super().load(operand, self.places[operand](index) if operand in self.places else index, width)

    def store(self, operand: int, index: Index, value: Expr) -> None:
        super().store(operand, self.places[operand](index) if operand in self.places else index, value)


def emit(spec: Inverted, tile: InvertedTile, machine: Machine, name: str) -> tirx.PrimFunc:
    """Operands as `Inverted.tensors` has them."""
    function = Function(name, spec.tensors(machine), machine)
    return function.build_from(_Emitter(spec, tile, machine, function).start)


class _Emitter:
    def __init__(self, spec: Inverted, tile: InvertedTile, machine: Machine, function: Function) -> None:
        self.spec, self.tile, self.machine, self.function = spec, tile, machine, function
        self.ring, self.middle = ring(spec, tile, machine), middle(spec, tile)
        self.widened: Any = None
        self.results: Any = None
        self.first: Expr = 0

    def start(self, lo: Expr) -> Callable[[Expr], None]:
        """Scratch that lasts for all items of a call."""
        if self.spec.expand is not None:
            self.widened = T.alloc_buffer((self.ring.size,), "float32", scope="local")
        if self.spec.project is not None:
            self.results = T.alloc_buffer((self.middle.size,), "float32", scope="local")
        return lambda item: self.item(item, lo)

    def item(self, item: Expr, lo: Expr) -> None:
        count = blocks(self.spec, self.tile)
        image, block = (0, item) if self.spec.out.shape[0] == 1 else (item // count, item % count)
        self.first = block * self.tile.rows
        rows = (self.first, part(self.spec.out.shape[1], self.tile.rows, block, count))
        if self.spec.expand is None:
            self.slide(image, rows)
        else:
            self.widen(image, rows, self.new_rows(rows, tirx.any(item == lo, block == 0)))
        if self.spec.project is not None:
            self.project(image, rows)

    def new_rows(self, rows: Rows, fresh: Expr) -> Rows:
        """Rows of the depthwise convolution's source that these rows of its output are the first of a call to need."""
        window = self.spec.depthwise.window
        (first, count), height, step = rows, window.image[0], window.stride[0]
        below = (window.size[0] - 1) * window.dilation[0] + 1 - window.pad[0]  # where a row's window ends
        top = tirx.max(first * step - window.pad[0], 0)
        had = tirx.Select(fresh, top, tirx.max(top, tirx.min((first - 1) * step + below, height)))
        begin = T.bind(had)
        return begin, T.bind(tirx.min((first + count - 1) * step + below, height) - begin)

    def widen(self, image: Expr, rows: Rows, new: Rows) -> None:
        """Expand to a channel tile after the other, each followed by the depthwise convolution of its channels."""
        spec, tile = self.spec.expand, self.tile.expand
        assert spec is not None and tile is not None
        count = len(spec.program.operands)

        def body(channels: Channels) -> None:
            tensors, buffers = self.operands(0, 2 + count)
            stage = Stage((*tensors, self.ring), (*buffers, self.widened), {2 + count: self.in_ring(channels.start)})
            Convolution(spec, tile, self.machine, stage).area(image, new, channels)
            self.slide_tile(image, rows, channels.start, pieces(0, channels.count, self.machine.vector))

        Convolution(spec, tile, self.machine, self.function).channels(0, body)

    def slide(self, image: Expr, rows: Rows) -> None:
        """The depthwise convolution of all channels, whose source is no scratch."""
        vector, extent = self.machine.vector, self.spec.depthwise.out.shape[3]
        size = self.tile.vectors * vector
        every = (0, ceildiv(extent, size))
        tiles(extent, size, vector, every, lambda channel, parts: self.slide_tile(image, rows, channel, parts))

    def slide_tile(self, image: Expr, rows: Rows, channel: Expr, parts: Sequence[tuple[int, int]]) -> None:
        """What it reads from scratch or writes there takes the place of an operand of its neighbour."""
        spec, places = self.spec.depthwise, dict[int, Place]()
        first = 0 if self.spec.expand is None else 1 + len(self.spec.expand.program.operands)
        last = 2 + len(spec.program.operands)
        tensors, buffers = self.operands(first, last + 1)
        if self.spec.expand is not None:
            tensors[0], buffers[0], places[0] = self.ring, self.widened, self.in_ring(channel)
        if self.spec.project is not None:
            tensors[last], buffers[last], places[last] = self.middle, self.results, self.in_middle
        tile = PlaneTile(self.tile.vectors, self.tile.columns, self.tile.rows, 1, "ohw")
        sliding = Sliding(spec, tile, self.machine, Stage(tensors, buffers, places))
        with loop(rows[1]) as row:
            sliding.strip(Strip(image, rows[0] + row, channel, parts))

    def project(self, image: Expr, rows: Rows) -> None:
        spec, tile = self.spec.project, self.tile.project
        assert spec is not None and tile is not None
        tensors, buffers = self.operands(len(self.function.tensors) - 2 - len(spec.program.operands), None)
        stage = Stage((self.middle, *tensors), (self.results, *buffers), {0: self.in_middle})
        convolution = Convolution(spec, tile, self.machine, stage)
        convolution.channels(0, lambda channels: convolution.area(image, rows, channels))

    def operands(self, first: int, count: int | None) -> tuple[list[Tensor], list[Any]]:
        """`count` of the function's operands from `first` on, all for None."""
        last = None if count is None else first + count
        return list(self.function.tensors[first:last]), self.function.buffers[first:last]

    def in_ring(self, start: Expr) -> Place:
        """Elements of the channel tile that begins at `start`."""
        size, kept = self.ring.shape[3], self.ring.shape[1]
        whole = kept == self.spec.depthwise.window.image[0]

        def place(index: Index) -> Index:
            _, row, column, channel = index
            return start // size, row if whole else row & (kept - 1), column, channel - start

        return place

    def in_middle(self, index: Index) -> Index:
        return 0, index[1] - self.first, *index[2:]
