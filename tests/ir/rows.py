"""Workloads whose kernels touch rows, at random, and what a plan of one gets wrong: byte by byte, from definitions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import product

from hypothesis import strategies as st

from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.rows import Cut
from gacer_tune.ir.schedule import Schedule, sequential
from gacer_tune.ir.workload import Buffer, Kernel, Op, Operand, Port, Tenant, Variant, Workload
from tests.support.workloads import Place, happens_before, places, randoms

NBYTES = (96, 96, 192, 384)  # with rows of 8 to 192 bytes
Touch = tuple[int, range, bool]  # buffer, its bytes, whether they are written


@st.composite
def rows_scheduled(draw: Callable[..., random.Random], odd: float = 0.1) -> tuple[Workload, Schedule]:
    """A workload whose kernels and variants touch rows but for a share of `odd` ones, and a legal schedule of it."""
    rng = draw(randoms())
    workload = Workload((_tenant(rng, odd),))
    schedule = random_schedule(workload, rng.randint(2, 3), rng)
    return workload, schedule if rng.random() < odd else sequential(workload, schedule.lanes)


def _tenant(rng: random.Random, odd: float) -> Tenant:
    buffers, ops = [Buffer("x", 96, "input")], []
    count = rng.randint(1, 9)
    for number in range(count):
        nbytes = rng.choice(NBYTES)
        buffers.append(Buffer(f"v{number}", nbytes, "output" if number == count - 1 else "value"))
        reads = {number, rng.choice((number, number, max(0, number - 1)))}
        ops.append(Op(f"op{number}", "matmul", (_kernel(rng, odd, buffers, sorted(reads)),)))
    ports = (Port("x", 0, (24,), "float32"),), (Port("y", count, (24,), "float32"),)
    return Tenant("t", "digest", tuple(buffers), tuple(ops), *ports)


def _kernel(rng: random.Random, odd: float, buffers: list[Buffer], reads: list[int]) -> Kernel:
    out = len(buffers) - 1
    rows = 0 if rng.random() < odd else rng.choice((4, 6, 8, 12))
    operands = []
    for buffer in (*reads, out):
        pitch, offset = 0, 0
        if rows and rng.random() >= odd:
            pitch = buffers[buffer].nbytes // rows
            offset = rng.randrange(pitch) if rng.random() < 0.3 else 0
        if pitch > 1 and rng.random() < odd:  # some of the rows only, or another part
            pitch, offset = pitch // 2, rng.choice((0, buffers[buffer].nbytes // 2))
        operands.append(Operand(buffer, buffer == out, offset, pitch))
    variants = tuple(_variant(rng, f"f{out}_{v}", 0 if rng.random() < odd else rows) for v in range(rng.randint(1, 2)))
    return Kernel(tuple(operands), variants, rows=rows)


def _variant(rng: random.Random, function: str, rows: int) -> Variant:
    if not rows:
        return Variant(function, rng.randint(1, 9))
    tiles = rng.randint(1, rows)
    high, inner = rng.randint(1, max(1, tiles // 2)), rng.randint(1, 3)
    return Variant(function, inner * -(-tiles // high), Cut(inner, high * rows, tiles))


def touches(workload: Workload, piece: Slice) -> Iterator[Touch]:
    """What a slice may touch, item by item from what pitches and cuts are said to mean."""
    tenant = workload.tenants[piece.tenant]
    kernel = tenant.kernels[piece.kernel]
    cut = kernel.variants[piece.variant].cut
    for operand in kernel.operands:
        if cut is None or not operand.pitch:
            yield operand.buffer, range(tenant.buffers[operand.buffer].nbytes), operand.writes
            continue
        base = operand.offset - operand.offset % operand.pitch
        for item in range(piece.lo, piece.hi):
            block = item // cut.inner
            first, behind = (number * cut.size // cut.parts for number in (block, block + 1))
            span = range(base + first * operand.pitch, base + min(behind, kernel.rows) * operand.pitch)
            yield operand.buffer, span, operand.writes


def faults(workload: Workload, plan: Plan) -> list[tuple[str, Place, Place]]:
    """Slices that run too early: what they read is not written yet, or memory is taken that others still need."""
    before = happens_before(plan)
    users: dict[tuple[int, int], list[tuple[Place, int, range, bool]]] = {}  # of a byte, by tenant and address
    for place, piece in places(plan):
        for buffer, span, writes in touches(workload, piece):
            at = plan.memory.offsets[piece.tenant][buffer]
            for byte in span:
                users.setdefault((piece.tenant, at + byte), []).append((place, buffer, span, writes))
    found = []
    for uses in users.values():
        found += _too_early(uses, before)
    return sorted(set(found))


def _too_early(
    uses: list[tuple[Place, int, range, bool]], before: dict[Place, frozenset[Place]]
) -> Iterator[tuple[str, Place, Place]]:
    """Faults among the uses of one byte."""
    writers = [(place, buffer) for place, buffer, _, writes in uses if writes]
    for (reader, buffer, _, writes), (writer, owner) in product(uses, writers):
        if writes and owner == buffer:
            continue
        if owner == buffer and writer not in before[reader]:
            yield "read before it is written", reader, writer
        if owner != buffer and writer not in before[reader] and reader not in before[writer]:
            yield "two values in one place", reader, writer
        if owner != buffer and writer in before[reader]:
            makers = [place for place, other in writers if other == buffer]
            yield from (("overwritten", reader, writer) for maker in makers if writer not in before[maker])
