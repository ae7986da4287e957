"""What must run: tenants as sequences of ops, ops as kernels, kernels as functions over a range of work items."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from gacer_tune.ir.rows import Cut, Link, link

FORMAT = 1

BufferKind = Literal["input", "output", "weight", "value"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A block of memory of one tenant. `content` is the digest of a weight; equal contents share one storage."""

    name: str
    nbytes: int
    kind: BufferKind
    content: str = ""


@dataclass(frozen=True, slots=True)
class Operand:
    """Parameter of a kernel: `buffer` counts in the tenant's buffers, `offset` in bytes from its start.

    pitch: bytes from a row to the next, where row r of the kernel touches only [start + r * pitch, start + (r + 1) *
    pitch) of the buffer; start is the last multiple of pitch that is not above offset. 0: any row may touch all of it.
    """

    buffer: int
    writes: bool = False
    offset: int = 0
    pitch: int = 0

    @property
    def start(self) -> int:
        return self.offset // self.pitch * self.pitch


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compute a kernel: the compiled `function` and the number of work items of its parallel loop.

    cut: None where items are no blocks of rows. footprint: bytes that an item comes back to, which should stay in a
    core's own cache while it runs; 0 where it goes over all it reads once.
    """

    function: str
    items: int
    cut: Cut | None = None
    footprint: int = 0


@dataclass(frozen=True, slots=True)
class Kernel:
    """One phase of an op. All variants write the same bits to the same operands.

    flops counts a multiply-add as two; nbytes is what must move at least once (operands read + written). rows: the
    axis that pitches of operands and cuts of variants refer to, 0 where there is none.
    """

    operands: tuple[Operand, ...]
    variants: tuple[Variant, ...]
    flops: int = 0
    nbytes: int = 0
    rows: int = 0

    @property
    def reads(self) -> frozenset[int]:
        return frozenset(o.buffer for o in self.operands if not o.writes)

    @property
    def writes(self) -> frozenset[int]:
        return frozenset(o.buffer for o in self.operands if o.writes)


@dataclass(frozen=True, slots=True)
class Op:
    """One fused operator. Its kernels run in order; `kind` is the rule that made them (conv2d, softmax, ...).

    direct: flops by the operator's definition where its kernels do fewer (Winograd's filtering), else 0.
    """

    name: str
    kind: str
    kernels: tuple[Kernel, ...]
    direct: int = 0


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a tenant as its user sees it; shape in the model's own (logical) layout."""

    name: str
    buffer: int
    shape: tuple[int, ...]
    dtype: str
    bound: int = 0  # exclusive upper bound of an index input, 0 when it is no index


@dataclass(frozen=True)
class Tenant:
    """One model of the workload. `ops` are in topological order. slo_s = 0: no latency objective.

    rounds: on the way values are rounded to whole numbers, as in quantized models, so that what differs in its last bit
    may differ by a whole step.
    """

    name: str
    model: str  # digest of the model it was made from
    buffers: tuple[Buffer, ...]
    ops: tuple[Op, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    batch: int = 1
    weight: float = 1.0
    slo_s: float = 0.0
    rounds: bool = False

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """All kernels of all ops, in order: the numbering that schedules and plans use."""
        return tuple(kernel for op in self.ops for kernel in op.kernels)

    @cached_property
    def first_kernel(self) -> tuple[int, ...]:
        """Number of the first kernel of each op, and at the end the number of kernels."""
        starts = [0]
        for op in self.ops:
            starts.append(starts[-1] + len(op.kernels))
        return tuple(starts)

    @cached_property
    def op_of(self) -> tuple[Op, ...]:
        """For each kernel the op that it belongs to."""
        return tuple(op for op in self.ops for _ in op.kernels)

    @cached_property
    def depends(self) -> tuple[tuple[int, ...], ...]:
        """For each kernel the earlier kernels that wrote what it reads."""
        writers: dict[int, list[int]] = {}
        found = []
        for number, kernel in enumerate(self.kernels):
            found.append(tuple(sorted({w for b in kernel.reads for w in writers.get(b, ())})))
            for buffer in kernel.writes:
                writers.setdefault(buffer, []).append(number)
        return tuple(found)

    @cached_property
    def links(self) -> tuple[tuple[Link, ...], ...]:
        """For each kernel how it depends on each of `depends`."""
        kernels = self.kernels
        return tuple(
            tuple(link(parent, kernels[parent], kernels[number]) for parent in parents)
            for number, parents in enumerate(self.depends)
        )


@dataclass(frozen=True)
class Workload:
    """The tenants that share one machine, and the target their functions are compiled for."""

    tenants: tuple[Tenant, ...]
    target: str = "cpu"

    @cached_property
    def key(self) -> str:
        """sha256 of everything a schedule refers to; a schedule belongs to exactly one key."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "target": self.target, "tenants": [_document(tenant) for tenant in self.tenants]}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Workload:
        """Inverse of to_json. Raises ValueError for another format."""
        if data.get("format") != FORMAT:
            raise ValueError(f"workload format {data.get('format')!r}: this version reads {FORMAT}")
        return Workload(tuple(_tenant(t) for t in data["tenants"]), data["target"])


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _document(tenant: Tenant) -> dict[str, Any]:
    """The tenant without what is said about rounding, rows, footprints and definitions where nothing is: as documents
    were before."""
    document = asdict(tenant)
    _drop_unsaid(document, "rounds")
    for op in document["ops"]:
        _drop_unsaid(op, "direct")
    for kernel in (kernel for op in document["ops"] for kernel in op["kernels"]):
        _drop_unsaid(kernel, "rows")
        for variant in kernel["variants"]:
            _drop_unsaid(variant, "cut", "footprint")
        for operand in kernel["operands"]:
            _drop_unsaid(operand, "pitch")
    return document


def _drop_unsaid(data: dict[str, Any], *names: str) -> None:
    for name in names:
        if not data[name]:
            del data[name]


def _tenant(data: dict[str, Any]) -> Tenant:
    return Tenant(
        **{
            **data,
            "buffers": tuple(Buffer(**b) for b in data["buffers"]),
            "ops": tuple(_op(o) for o in data["ops"]),
            "inputs": tuple(_port(p) for p in data["inputs"]),
            "outputs": tuple(_port(p) for p in data["outputs"]),
        }
    )


def _op(data: dict[str, Any]) -> Op:
    return Op(data["name"], data["kind"], tuple(_kernel(k) for k in data["kernels"]), data.get("direct", 0))


def _kernel(data: dict[str, Any]) -> Kernel:
    return Kernel(
        tuple(Operand(**o) for o in data["operands"]),
        tuple(_variant(v) for v in data["variants"]),
        data["flops"],
        data["nbytes"],
        data.get("rows", 0),
    )


def _variant(data: dict[str, Any]) -> Variant:
    cut = data.get("cut")
    return Variant(data["function"], data["items"], None if cut is None else Cut(**cut), data.get("footprint", 0))


def _port(data: dict[str, Any]) -> Port:
    return Port(**{**data, "shape": tuple(data["shape"])})
