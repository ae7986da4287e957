"""Offsets for every buffer, the same for every schedule of a workload.

Two values of a tenant may share memory only when the dependencies alone order them: every kernel that touches the
one is an ancestor of every kernel that writes the other. So no schedule, however it orders, slices or overlaps
kernels, can bring two live values together, and no schedule needs waits for the sake of memory.
"""

from __future__ import annotations

from gacer_tune.ir.plan import Memory
from gacer_tune.ir.workload import Tenant, Workload

ALIGNMENT = 64


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
    touches, ancestors, used = _touches(tenant), _ancestors(tenant), 0
    placed: list[tuple[int, int, int]] = []  # (start, end, buffer)
    values = [b for b, buffer in enumerate(tenant.buffers) if buffer.kind != "weight"]
    for number in sorted(values, key=lambda b: (-tenant.buffers[b].nbytes, b)):
        size = _aligned(tenant.buffers[number].nbytes)
        shared = tenant.buffers[number].kind == "value"
        clashes = [
            (start, end)
            for start, end, other in placed
            if not (shared and tenant.buffers[other].kind == "value" and _ordered(number, other, touches, ancestors))
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


def _touches(tenant: Tenant) -> dict[int, tuple[int, int]]:
    """For each buffer a bit set of the kernels that touch it and one of those that write it."""
    found: dict[int, tuple[int, int]] = {}
    for number, kernel in enumerate(tenant.kernels):
        for operand in kernel.operands:
            touched, written = found.get(operand.buffer, (0, 0))
            found[operand.buffer] = (touched | 1 << number, written | (1 << number if operand.writes else 0))
    return found


def _ancestors(tenant: Tenant) -> list[int]:
    """For each kernel the bit set of all kernels that must have finished before it starts."""
    sets: list[int] = []
    for parents in tenant.depends:
        ancestors = 0
        for parent in parents:
            ancestors |= sets[parent] | 1 << parent
        sets.append(ancestors)
    return sets


def _ordered(a: int, b: int, touches: dict[int, tuple[int, int]], ancestors: list[int]) -> bool:
    """True when all that touches one comes before all that writes the other, in one of the two directions."""
    nothing = (0, 0)
    (touch_a, write_a), (touch_b, write_b) = touches.get(a, nothing), touches.get(b, nothing)
    return _before(touch_a, write_b, ancestors) or _before(touch_b, write_a, ancestors)


def _before(earlier: int, later: int, ancestors: list[int]) -> bool:
    common = -1
    while later:
        low = later & -later
        common &= ancestors[low.bit_length() - 1]
        later ^= low
    return earlier & ~common == 0
