"""Operands of a product in shared memory, where each step of the reduction finds them.

A panel holds chunks of 16 bytes, in lines that lie so that neither copying nor reading has two lanes on one bank. The
chunks run along the reduction ("k": a line is a row of the left operand or a column of the right one) or along the
columns ("n": a line is a row of the right operand, for 32 columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.cuda.emit.function import Expr, Function, call, local
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import LINE, WARP_COLUMNS, depth
from gacer_tune.kernels.tensor import Tensor

WORDS = LINE // 4


class Reader(Protocol):
    """Where the elements (other, k) of an operand lie; other: a row of the left operand, a column of the right one.

    whole: chunks of 16 bytes are neighbours, and aligned if the operand is. aligned: it always is. Two methods give
    values worth keeping: `line` those that depend on `other`, `step` those that depend on k.
    """

    operand: int
    whole: bool
    aligned: bool

    def line(self, other: Expr) -> list[Expr]: ...

    def step(self, k: Expr) -> list[Expr]: ...

    def at(self, line: list[Expr], step: list[Expr]) -> tuple[Expr, list[Expr]]:
        """Offset of an element, and the conditions under which it is there (else it counts as 0)."""
        ...


def neighbours(tensor: Tensor, axis: int, vector: int) -> bool:
    """True when the tensor is whole vectors along an axis, each aligned if the first one is."""
    axis %= len(tensor.shape)
    others = (stride for a, stride in enumerate(tensor.strides) if a != axis)
    return tensor.strides[axis] == 1 and tensor.shape[axis] % vector == 0 and all(s % vector == 0 for s in others)


def unraveled(index: Expr, shape: tuple[int, ...]) -> tuple[Expr, ...]:
    """Indices along the axes of a shape from one row-major index that is not negative."""
    found: list[Expr] = []
    for axis, extent in reversed(list(enumerate(shape))):
        if extent == 1:
            found.append(0)
        elif axis and any(n > 1 for n in shape[:axis]):
            found.append(tirx.truncmod(index, extent))
            index = tirx.truncdiv(index, extent)
        else:
            found.append(index)
    return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Layout:
    """size: rows or columns of the block. start: word of a stage where the panel begins."""

    along: Literal["k", "n"]
    size: int
    start: int
    gpu: Gpu

    @property
    def chunks(self) -> int:
        """Chunks of a line."""
        return 4 if self.along == "k" else WARP_COLUMNS // self.gpu.vector

    def word(self, line: Expr, chunk: Expr) -> Expr:
        """First word of a chunk; along n, line: 32 columns are `depth` lines, the next 32 columns are the next ones."""
        if self.chunks == 4:
            swapped = chunk ^ (line >> tirx.const(1, "int32") & tirx.const(3, "int32"))
        else:
            swapped = chunk ^ ((line & tirx.const(3, "int32")) * 2)
        return line * (self.chunks * 4) + swapped * 4 + self.start


@dataclass(frozen=True, slots=True)
class Team:
    """Warps that work on one part of the reduction: which team, how many threads, and which of them this one is."""

    number: Expr
    threads: int
    thread: Expr


class Panel:
    """Copies an operand's part of one step; made once in a block, it keeps what does not change from step to step."""

    def __init__(self, function: Function, team: Team, layout: Layout, reader: Reader, first: Expr) -> None:
        self.function, self.team, self.layout, self.reader = function, team, layout, reader
        self.first, self.gpu = first, layout.gpu
        self.total = layout.size * 4
        self.turns = max(1, self.total // team.threads)
        self.kept = [kept(reader.line(self.other(i))) for i in range(self.turns)] if self.keeps else []

    @property
    def keeps(self) -> bool:
        return self.layout.along == "k" or self.reader.whole

    def line(self, turn: int) -> Expr:
        per_turn = self.team.threads // self.layout.chunks
        return tirx.truncdiv(self.team.thread, self.layout.chunks) + turn * per_turn

    @property
    def chunk(self) -> Expr:
        return tirx.truncmod(self.team.thread, self.layout.chunks)

    def other(self, turn: int) -> Expr:
        """Row or first column of the thread's chunk."""
        if self.layout.along == "k":
            return self.first + self.line(turn)
        columns = tirx.truncdiv(self.line(turn), depth(self.gpu)) * WARP_COLUMNS
        return self.first + columns + self.chunk * self.gpu.vector

    def fill(self, memory: Any, stage: Expr, step: Expr) -> None:
        """Copy (or start to) what step `step` needs to the stage that begins at word `stage`."""
        if self.total < self.team.threads:
            with T.If(self.team.thread < self.total), T.Then():
                self._fill(memory, stage, step)
        else:
            self._fill(memory, stage, step)

    def _fill(self, memory: Any, stage: Expr, step: Expr) -> None:
        if not self.reader.whole:
            self._gather(memory, stage, step)
        elif self.reader.aligned:
            self._copy(memory, stage, step, "gt_copy_async")
        else:
            with T.If(T.call_pure_extern("bool", "gt_aligned", self.function.pointer(self.reader.operand))):
                with T.Then():
                    self._copy(memory, stage, step, "gt_copy_async")
                with T.Else():
                    self._copy(memory, stage, step, "gt_copy")

    def _copy(self, memory: Any, stage: Expr, step: Expr, name: str) -> None:
        """Chunks as they are."""
        start = step * depth(self.gpu)
        at = kept(self.reader.step(start + self.chunk * self.gpu.vector)) if self.layout.along == "k" else []
        for turn in range(self.turns):
            if self.layout.along == "n":
                at = self.reader.step(start + tirx.truncmod(self.line(turn), depth(self.gpu)))
            offset, conditions = self.reader.at(self.kept[turn], at)
            to = T.address_of(memory[stage + self.layout.word(self.line(turn), self.chunk)])
            call(name, to, self.function.pointer(self.reader.operand, offset), all_of(conditions))

    def _gather(self, memory: Any, stage: Expr, step: Expr) -> None:
        """Chunks element by element."""
        start, vector = step * depth(self.gpu), self.gpu.vector
        if self.layout.along == "k":
            ats = [kept(self.reader.step(start + self.chunk * vector + i)) for i in range(vector)]
            for turn in range(self.turns):
                self._put(memory, stage, turn, [self.reader.at(self.kept[turn], at) for at in ats])
            return
        for turn in range(self.turns):
            row = self.reader.step(start + tirx.truncmod(self.line(turn), depth(self.gpu)))
            lines = [self.reader.line(self.other(turn) + i) for i in range(vector)]
            self._put(memory, stage, turn, [self.reader.at(line, row) for line in lines])

    def _put(self, memory: Any, stage: Expr, turn: int, places: list[tuple[Expr, list[Expr]]]) -> None:
        run = local(self.gpu.vector)
        zero = tirx.const(0.0, "float32")
        for i, (offset, conditions) in enumerate(places):
            value = self.function.element(self.reader.operand, offset)
            guarded = T.if_then_else(all_of(conditions), value, zero) if conditions else value
            T.buffer_store(run, guarded, [i])
        kind = "half" if self.gpu.dtype == "float16" else "float"
        to = T.address_of(memory[stage + self.layout.word(self.line(turn), self.chunk)])
        call(f"gt_put<{kind}>", to, T.address_of(run[0]))


def kept(values: list[Expr]) -> list[Expr]:
    """The integers in registers, constants as they are."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        register = local(1, "int32")
        T.buffer_store(register, value, [0])
        found.append(register[0])
    return found


def all_of(conditions: list[Expr]) -> Expr:
    found = tirx.const(True, "bool")
    for condition in conditions:
        found = tirx.And(found, condition)
    return found
