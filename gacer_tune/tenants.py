"""The workload of a set of lowered models: tenants of the scheduling IR, their functions and their weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Kernel, Op, Tenant, Variant, Workload
from gacer_tune.kernels import rules
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import Processor, Source, Spec
from gacer_tune.lowering.context import LoweredKernel
from gacer_tune.lowering.graph import Array
from gacer_tune.lowering.lower import LoweredModel
from gacer_tune.lowering.reach import cut, reach


@dataclass(frozen=True, slots=True)
class Model:
    """A tenant before it is named in the IR. model: digest of the file and of the shapes it was given."""

    name: str
    model: str
    lowered: LoweredModel
    batch: int = 1
    weight: float = 1.0
    slo_s: float = 0.0


@dataclass(frozen=True)
class Compiled:
    """A workload with what its functions are made from (by name) and its weights (by content)."""

    workload: Workload
    sources: dict[str, Source]
    weights: dict[str, Array]

    def operands(self, function: str) -> int:
        """Number of pointers the function takes."""
        source = self.sources[function]
        return len(source.spec.tensors(source.machine))


# A kernel with less than this share of the arithmetic gets at most so many variants: compiling costs time too.
SHARES = ((0.002, 1), (0.01, 3), (0.03, 5))


def assemble(models: Sequence[Model], machine: Processor, most: int = 8) -> Compiled:
    """Return the workload with the candidate variants of every kernel, at most `most` of each."""
    limits = _limits(models, most)
    sources: dict[str, Source] = {}
    weights: dict[str, Array] = {}
    variants: dict[Spec, tuple[Variant, ...]] = {}
    tenants = []
    for model in models:
        for number, array in model.lowered.weights.items():
            weights.setdefault(model.lowered.buffers[number].content, array)
        ops = tuple(
            Op(op.name, op.kind, tuple(_kernel(k, machine, sources, variants, limits) for k in op.kernels), op.direct)
            for op in model.lowered.ops
        )
        low = model.lowered
        tenants.append(
            Tenant(
                model.name, model.model, low.buffers, ops, low.inputs, low.outputs,
                model.batch, model.weight, model.slo_s, low.rounds,
            )
        )  # fmt: skip
    return Compiled(Workload(tuple(tenants), "cuda" if isinstance(machine, Gpu) else "cpu"), sources, weights)


def _limits(models: Sequence[Model], most: int) -> dict[Spec, int]:
    """How many variants each kernel gets, by its share of the workload's work."""
    work: dict[Spec, int] = {}
    for model in models:
        for op in model.lowered.ops:
            for kernel in op.kernels:
                work[kernel.spec] = work.get(kernel.spec, 0) + kernel.spec.flops
    total = sum(work.values()) or 1
    return {
        spec: min(most, next((count for share, count in SHARES if flops < share * total), most))
        for spec, flops in work.items()
    }


def _kernel(
    kernel: LoweredKernel,
    machine: Processor,
    sources: dict[str, Source],
    variants: dict[Spec, tuple[Variant, ...]],
    limits: dict[Spec, int],
) -> Kernel:
    spec = kernel.spec
    if spec not in variants:
        _require_rule(spec, machine)
        made = [Source(spec, tile, machine) for tile in rules.candidates(spec, machine)[: limits[spec]]]
        sources.update({source.name: source for source in made})
        variants[spec] = tuple(_variant(source) for source in made)
    rows = reach(spec, machine)
    operands = rows.operands(kernel.operands) if rows else kernel.operands
    return Kernel(operands, variants[spec], spec.flops, rules.nbytes(spec, machine), rows.rows if rows else 0)


def _variant(source: Source) -> Variant:
    about = source.spec, source.tile, source.machine
    return Variant(source.name, rules.items(*about), cut(source), rules.footprint(*about))


def _require_rule(spec: Spec, machine: Processor) -> None:
    name = rules.rule(spec)
    if isinstance(machine, Gpu) and find_spec(f"gacer_tune.kernels.cuda.{name}") is None:
        raise UserError(f"target cuda: there are no CUDA kernels for {name} yet, target cpu has them")


def functions(workload: Workload) -> tuple[str, ...]:
    """Names of all functions of a workload, each once, in order of first use."""
    return tuple(dict.fromkeys(v.function for v in _variants(workload)))


def _variants(workload: Workload) -> Iterable[Variant]:
    for tenant in workload.tenants:
        for kernel in tenant.kernels:
            yield from kernel.variants
