"""The rules by name: a kernel's spec says which rule it belongs to, and the rule knows the variants."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from gacer_tune.ir.workload import canonical
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.tensor import Tensor

# They hand functions to the compiler and back: none of them comes out otherwise for what is changed there.
MACHINERY = frozenset(("kernels/build.py", "kernels/worker.py"))

Tile = Any
Processor = Machine | Gpu
SCHEDULED = "scheduled"  # the module of tiles that belong to several rules


class Spec(Protocol):
    """What a kernel computes. A frozen dataclass of plain values, so that equal kernels have equal names."""

    @property
    def out(self) -> Tensor: ...

    @property
    def flops(self) -> int: ...

    def tensors(self, machine: Target) -> tuple[Tensor, ...]:
        """Operands in the order of the function's parameters; the last one is written."""
        ...


def rule(spec: Spec) -> str:
    """Name of the rule: the last part of the module that defines the spec."""
    return type(spec).__module__.rpartition(".")[2]


def module(spec: Spec, machine: Processor) -> ModuleType:
    """The module that knows the variants."""
    here = "gacer_tune.kernels.cuda." if isinstance(machine, Gpu) else "gacer_tune.kernels."
    return import_module(here + rule(spec))


def candidates(spec: Spec, machine: Processor) -> Sequence[Tile]:
    """Variants worth measuring, most promising first; never empty."""
    found: Sequence[Tile] = module(spec, machine).candidates(spec, machine)
    return found


def items(spec: Spec, tile: Tile, machine: Processor) -> int:
    """Work items of a variant; for a GPU: its thread blocks."""
    if rule(tile) == SCHEDULED:
        return int(tile.count)
    return int(module(spec, machine).items(spec, tile, machine))


def footprint(spec: Spec, tile: Tile, machine: Processor) -> int:
    """Bytes that a work item of a variant comes back to; 0 where its rule knows of none, and on a GPU."""
    known = None if rule(tile) == SCHEDULED else getattr(module(spec, machine), "footprint", None)
    return 0 if known is None else int(known(spec, tile, machine))


@cache
def code_version(*folders: str) -> str:
    """Digest of the code in folders of the package: what it compiles is cached under it."""
    files = code(Path(__file__).parent.parent, folders)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def code(root: Path, folders: Sequence[str]) -> list[Path]:
    """The files in folders below root, without MACHINERY."""
    kinds = ("*.py", "*.cuh")
    files = (path for folder in folders for kind in kinds for path in (root / folder).glob(kind))
    return sorted(path for path in files if path.relative_to(root).as_posix() not in MACHINERY)


@dataclass(frozen=True, slots=True)
class Source:
    """What one compiled function is made from."""

    spec: Spec
    tile: Tile
    machine: Processor

    @property
    def rule(self) -> str:
        """Name of the rule that emits it: that of the spec, or SCHEDULED."""
        return SCHEDULED if rule(self.tile) == SCHEDULED else rule(self.spec)

    @property
    def name(self) -> str:
        """Symbol of the function: its rule and a digest of all that its code depends on."""
        cuda = ("kernels/cuda", "kernels/cuda/emit") if isinstance(self.machine, Gpu) else ()
        code = code_version("kernels", "kernels/emit", *cuda)
        parts = [code, rule(self.spec), asdict(self.spec), asdict(self.tile), asdict(self.machine)]  # type: ignore[call-overload]
        return f"gt_{self.rule}_{hashlib.sha256(canonical(parts).encode()).hexdigest()[:20]}"

    def emit(self, name: str) -> Any:
        """The function as TensorIR under a symbol (imports tvm)."""
        here = "gacer_tune.kernels.cuda.emit." if isinstance(self.machine, Gpu) else "gacer_tune.kernels.emit."
        return import_module(here + self.rule).emit(self.spec, self.tile, self.machine, name)


def nbytes(spec: Spec, machine: Target) -> int:
    return sum(tensor.nbytes for tensor in spec.tensors(machine))
