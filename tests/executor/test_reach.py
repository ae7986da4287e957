"""What kernels are said to touch, row by row, holds for what they really do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from gacer_tune.executor.session import Session
from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.rows import Cut
from gacer_tune.ir.workload import Kernel
from gacer_tune.preparing import machine_here
from models.transformer import Encoder, bert
from tests.support.compiled import Built, build, emulated, tiny
from tests.support.small_models import SMALL, TABLE_ROWS

Bytes = NDArray[np.bool_]
ITEMS = 4  # of each variant that are tried


ENCODERS = {
    "bert": SMALL["bert"],
    "normed": partial(bert, sequence=37, vocab=TABLE_ROWS, size=Encoder(1, 32, 4)),
}


@pytest.fixture(scope="module", params=["tiny", *product(ENCODERS, ("float32", "bfloat16"))], ids=str)
def built(request: pytest.FixtureRequest) -> Built:
    if request.param == "tiny":
        return tiny()
    name, precision = request.param
    machine = emulated() if precision == "bfloat16" else machine_here()
    return build([("net", ENCODERS[name]())], machine=machine, most=2)


def cut_slices(built: Built) -> Iterator[tuple[Slice, Kernel, Cut]]:
    """Single work items of every variant that is cut by rows."""
    rng = random.Random(5)
    for t, tenant in enumerate(built.compiled.workload.tenants):
        for k, kernel in enumerate(tenant.kernels):
            for v, variant in enumerate(kernel.variants):
                for item in rng.sample(range(variant.items), min(ITEMS, variant.items)) if variant.cut else ():
                    yield Slice(t, k, v, item, item + 1, 0), kernel, variant.cut  # type: ignore[misc]


def touched(session: Session, piece: Slice, kernel: Kernel, cut: Cut, *, writes: bool) -> Bytes:
    """The bytes of memory that an item is said to read, or to write."""
    found = np.zeros(session.bytes.shape, np.bool_)
    block = piece.lo // cut.inner
    first, behind = (number * cut.size // cut.parts for number in (block, block + 1))
    for operand in (operand for operand in kernel.operands if operand.writes == writes):
        start = session.memory.offsets[piece.tenant][operand.buffer]
        nbytes = session.workload.tenants[piece.tenant].buffers[operand.buffer].nbytes
        span = (0, nbytes)
        if operand.pitch:
            base = operand.offset - operand.offset % operand.pitch
            span = base + first * operand.pitch, base + min(behind, kernel.rows) * operand.pitch
        found[start + span[0] : start + span[1]] = True
    return found


def outside(session: Session, piece: Slice, kernel: Kernel, cut: Cut, rng: np.random.Generator) -> list[str]:
    """What an item does beyond what is said: `writes` bytes of others, or `reads` what it should not."""
    may_read, may_write = (touched(session, piece, kernel, cut, writes=writes) for writes in (False, True))
    loaded = session.load(Plan(((piece,),), session.memory))
    values = len(session.bytes) - session.memory.weights_nbytes
    noise = rng.standard_normal(-(-values // 4)).astype(np.float32).view(np.uint8)[:values]
    session.bytes[session.memory.weights_nbytes :] = noise
    before = session.bytes.copy()
    session.run(loaded)
    first = session.bytes.copy()
    session.bytes[:] = before
    session.bytes[session.memory.weights_nbytes :][~may_read[session.memory.weights_nbytes :]] ^= 0x11
    session.run(loaded)
    written = first != before
    reads = np.any(session.bytes[written] != first[written])
    found = {"writes": np.any(written & ~may_write), "reads": reads, "does nothing": not written.any()}
    return [what for what, wrong in found.items() if wrong]


def test_an_item_touches_its_rows_only(built: Built) -> None:
    rng, session = np.random.default_rng(1), built.bench.session
    before = session.bytes.copy()  # other tests run this workload, too
    tried = list(cut_slices(built))
    found = [(piece, what) for piece, kernel, cut in tried if (what := outside(session, piece, kernel, cut, rng))]
    session.bytes[:] = before
    assert found == []
    assert len({(piece.tenant, piece.kernel) for piece, *_ in tried}) > 5
