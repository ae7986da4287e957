"""Offsets for every buffer, the same for every schedule of a workload.

Two values of a tenant may share memory only when the dependencies alone order them: every kernel that touches the
one is over before any that writes the other begins, on whatever lanes (a kernel that waits by rows begins before those
that it reads from are over, see rows.py). So no schedule, however it orders, slices or overlaps kernels, can bring two
live values together, and no schedule needs waits for the sake of memory.
"""

from __future__ import annotations

from gacer_tune.ir.plan import Memory
from gacer_tune.ir.workload import Tenant, Workload

ALIGNMENT = 64

Span = tuple[int, int]  # bit sets: the kernels that touch a buffer; those that are not over when one begins to write it


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
    placed: list[tuple[int, int, int]] = []  # (start, end, buffer)
    values = [b for b, buffer in enumerate(tenant.buffers) if buffer.kind != "weight"]
    for number in sorted(values, key=lambda b: (-tenant.buffers[b].nbytes, b)):
        size = _aligned(tenant.buffers[number].nbytes)
        shared = tenant.buffers[number].kind == "value"
        clashes = [
            (start, end)
            for start, end, other in placed
            if not (shared and tenant.buffers[other].kind == "value" and _ordered(spans[number], spans[other]))
        ]
        at = 0
        for start, end in sorted(clashes):
            if start - at >= size:
                break
            at = max(at, end)
        placed.append((at, at + size, number))
        row[number] = base + at
        used = max(used, at + size)
    return used


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
