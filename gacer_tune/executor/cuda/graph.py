"""From a plan to the operations that are captured into a CUDA graph: launches, event records, event waits.

Stream 0 begins and ends the capture. Every other stream that has work is forked from it before its first launch and
joined to it after its last one, as capture demands. Order inside a stream needs no event; of the slices of another
lane, the plan names the last one that a slice waits for, and one event recorded behind that one serves all who wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gacer_tune.ir.plan import Plan, Slice


@dataclass(frozen=True, slots=True)
class Launch:
    """Blocks [lo, hi) of a slice's kernel; `row` counts the slices of the plan, lane by lane."""

    stream: int
    row: int
    piece: Slice


@dataclass(frozen=True, slots=True)
class Record:
    """Event `event` is reached when all that the stream has been given so far is done."""

    stream: int
    event: int


@dataclass(frozen=True, slots=True)
class Await:
    """What the stream is given from here on starts after the event's last record."""

    stream: int
    event: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The time at which the stream comes here, before slice `row` or behind it."""

    stream: int
    row: int
    behind: bool


Operation: TypeAlias = Launch | Record | Await | Mark
Marks = Literal["none", "tenants", "slices"]


@dataclass(frozen=True, slots=True)
class Script:
    """Operations in an order in which no event is waited for before it is recorded; events are numbered from 0."""

    operations: tuple[Operation, ...]
    streams: int
    events: int

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(operation for operation in self.operations if isinstance(operation, Mark))


def script(plan: Plan, marks: Marks = "none") -> Script:
    """The operations of a plan, with timestamps behind the last slices of each tenant, or around all slices.

    Raises ValueError where lanes wait for each other in a circle, which no plan made by `ir.lower` does.
    """
    numbers = _events(plan)
    used = [lane for lane, slices in enumerate(plan.lanes) if slices and lane]
    fork, join = len(numbers), len(numbers) + bool(used)
    operations: list[Operation] = []
    if used:
        operations.append(Record(0, fork))
        operations += [Await(lane, fork) for lane in used]
    before, behind = _marked(plan, marks)
    starts = [sum(map(len, plan.lanes[:lane])) for lane in range(len(plan.lanes))]
    for lane, position in issue_order(plan.lanes):
        piece, row = plan.lanes[lane][position], starts[lane] + position
        operations += [Await(lane, numbers[wait.lane, wait.count]) for wait in piece.waits]
        operations += [Mark(lane, row, behind=False)] if row in before else []
        operations.append(Launch(lane, row, piece))
        operations += [Mark(lane, row, behind=True)] if row in behind else []
        if (lane, position + 1) in numbers:
            operations.append(Record(lane, numbers[lane, position + 1]))
    for number, lane in enumerate(used):
        operations += [Record(lane, join + number), Await(0, join + number)]
    return Script(tuple(operations), len(plan.lanes), join + len(used))


def _events(plan: Plan) -> dict[tuple[int, int], int]:
    """Number of the event of each (lane, count) that some slice waits for."""
    wanted = sorted({(wait.lane, wait.count) for piece in plan.slices() for wait in piece.waits})
    return {place: number for number, place in enumerate(wanted)}


def _marked(plan: Plan, marks: Marks) -> tuple[frozenset[int], frozenset[int]]:
    """Rows with a timestamp before and behind them."""
    if marks == "none":
        return frozenset(), frozenset()
    rows = list(plan.slices())
    if marks == "slices":
        everywhere = frozenset(range(len(rows)))
        return everywhere, everywhere
    lanes = [lane for lane, slices in enumerate(plan.lanes) for _ in slices]
    lasts = {(lane, piece.tenant): row for row, (lane, piece) in enumerate(zip(lanes, rows, strict=True))}
    return frozenset(), frozenset(lasts.values())


def issue_order(lanes: Sequence[Sequence[Slice]]) -> Iterator[tuple[int, int]]:
    """(lane, position) of every slice, each behind those it waits for; lanes take turns as far as waits let them."""
    done = [0] * len(lanes)
    left = sum(map(len, lanes))
    while left:
        before = left
        for lane, slices in enumerate(lanes):
            if done[lane] < len(slices) and all(done[w.lane] >= w.count for w in slices[done[lane]].waits):
                yield lane, done[lane]
                done[lane] += 1
                left -= 1
        if left == before:
            raise ValueError("plan: lanes wait for each other in a circle")
