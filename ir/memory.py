"""Offsets for every buffer, the same for every schedule of a workload.

Two values of a tenant may share memory only when the dependencies alone order them: every kernel that touches the
one is over before any that writes the other begins, on whatever lanes (a kernel that waits by rows begins before those
that it reads from are over, see rows.py). So no schedule, however it orders, slices or overlaps kernels, can bring two
live values together, and no schedule needs waits for the sake of memory.
"""

from __future__ import annotations

from itertools import chain

from gacer_tune.ir.plan import Memory
from gacer_tune.ir.workload import Tenant, Workload

ALIGNMENT = 64
MANY = 64  # kernels between which a buffer is noted under each one

Span = tuple[int, int]  # bit sets: the kernels that touch a buffer; those that are not over when one begins to write it
Bytes = tuple[int, int]  # start and end
Taken = tuple[Bytes, Span | None]  # and the span of the buffer that lies there, of one that others may share


def place(workload: Workload) -> Memory:
    """Return the offsets of all buffers. Inputs and outputs are never shared, weights are shared by content."""
    top = 0
    by_content: dict[str, int] = {}
    rows: list[list[int]] = []
    for tenant in workload.tenants:
        row = [0] * len(tenant.buffers)
        for number, buffer in enumerate(tenant.buffers):
            if buffer.kind == "weight":
                at = by_content.get(buffer.content) if buffer.content else None
                if at is None:
                    at, top = top, top + _aligned(buffer.nbytes)
                    by_content[buffer.content] = at
                row[number] = at
        rows.append(row)
    weights = top
    for tenant, row in zip(workload.tenants, rows, strict=True):
        top += _place_values(tenant, row, top)
    return Memory(tuple(map(tuple, rows)), weights, top)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _place_values(tenant: Tenant, row: list[int], base: int) -> int:
    """Fill in the offsets of the tenant's values, largest first, each as low as it fits; return the bytes used."""
    spans, used = _spans(tenant), 0
    placed = _Placed(len(tenant.kernels))
    values = [b for b, buffer in enumerate(tenant.buffers) if buffer.kind != "weight"]
    for number in sorted(values, key=lambda b: (-tenant.buffers[b].nbytes, b)):
        size = _aligned(tenant.buffers[number].nbytes)
        shared = tenant.buffers[number].kind == "value"
        at = 0
        for start, end in sorted(placed.clashing(spans[number]) if shared else placed.everything):
            if start - at >= size:
                break
            at = max(at, end)
        placed.add((at, at + size), spans[number] if shared else None)
        row[number] = base + at
        used = max(used, at + size)
    return used


class _Placed:
    """The bytes that are taken, found by the kernels between which a buffer is in use: kernels stand in an order in
    which each depends on earlier ones only, so two buffers that are in use between different ones are ordered."""

    def __init__(self, kernels: int) -> None:
        self.everything: list[Bytes] = []
        self._wide: list[Taken] = []  # those in use between many kernels, or never shared
        self._begun: list[list[Taken]] = [[] for _ in range(kernels)]
        self._in_use: list[list[Taken]] = [[] for _ in range(kernels)]

    def add(self, place: Bytes, span: Span | None) -> None:
        """span: of a buffer that others may share."""
        self.everything.append(place)
        if span is None or len(_between(span)) > MANY:
            self._wide.append((place, span))
            return
        for number, kernel in enumerate(_between(span)):
            self._in_use[kernel].append((place, span))
            if number == 0:
                self._begun[kernel].append((place, span))

    def clashing(self, span: Span) -> list[Bytes]:
        """What a value may not share."""
        near, kernels = [self._wide], _between(span)
        if kernels:
            near += [self._in_use[kernels[0]], *self._begun[kernels.start + 1 : kernels.stop]]
        return [place for place, other in chain.from_iterable(near) if other is None or not _ordered(span, other)]


def _between(span: Span) -> range:
    """Kernels from the first that may run beside one that writes the buffer to the last that touches it."""
    touched, late = span
    first = (late & -late).bit_length() - 1 if late else touched.bit_length()
    return range(first, touched.bit_length())


def _spans(tenant: Tenant) -> list[Span]:
    touched, late = [0] * len(tenant.buffers), [0] * len(tenant.buffers)
    every, over = (1 << len(tenant.kernels)) - 1, _over(tenant)
    for number, kernel in enumerate(tenant.kernels):
        for operand in kernel.operands:
            touched[operand.buffer] |= 1 << number
            if operand.writes:
                late[operand.buffer] |= every & ~over[number]
    return list(zip(touched, late, strict=True))


def _over(tenant: Tenant) -> list[int]:
    """For each kernel the bit set of all kernels that are over before the first of its work items begins.

    A kernel that depends on another by rows begins earlier: when what was over before the other is. It ends after
    all of the other, since it reads all that the other writes.
    """
    ancestors: list[int] = []
    over: list[int] = []
    for links in tenant.links:
        all_before = begin = 0
        for link in links:
            up_to = ancestors[link.parent] | 1 << link.parent
            all_before |= up_to
            begin |= over[link.parent] if link.pitches else up_to
        ancestors.append(all_before)
        over.append(begin)
    return over


def _ordered(one: Span, other: Span) -> bool:
    """True when all that touches one comes before all that writes the other, in one of the two directions."""
    return one[0] & other[1] == 0 or other[0] & one[1] == 0
