"""One more variant for each heavy kernel of a workload: the fastest that MetaSchedule found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gacer_tune.ir.workload import Kernel, Variant, Workload
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rules import Source, Spec
from gacer_tune.kernels.scheduled import is_scheduled, product_of
from gacer_tune.metaschedule.records import KernelRecord, find
from gacer_tune.metaschedule.search import Place, Searched, search, usable
from gacer_tune.store.cache import Cache
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.tenants import Compiled

HEAVY = 0.01  # of the arithmetic of the workload: a kernel with less is not searched


def with_scheduled(compiled: Compiled, trials: int, place: Place) -> Compiled:
    """The workload whose heavy products have one variant more, behind our own; nothing of ours is left out.

    What the cache knows of a kernel is not searched again. Raises UserError where MetaSchedule does not run.
    """
    found = search(_known(compiled, place.cache), trials, place)
    made = {record.spec: usable(record, place.cache) for record in found}
    return _added(compiled, {spec: source for spec, source in made.items() if source is not None})


def trials_left(compiled: Compiled, trials: int, cache: Cache) -> list[int]:
    """Of each kernel that `with_scheduled` would search, how many trials at most it has not had yet."""
    known = [kernel.record for kernel in _known(compiled, cache)]
    return [max(1, trials - len(record.attempts)) for record in known if record.asked < trials]


def _known(compiled: Compiled, cache: Cache) -> list[Searched]:
    """The heavy kernels, and what the cache knows of them."""
    here, kernels = host_fingerprint(), list[Searched]()
    for ours in heavy(compiled):
        assert isinstance(ours.machine, Machine)
        kernels.append(Searched(ours, find(cache, KernelRecord(ours.spec, ours.machine, here))))
    return kernels


def heavy(compiled: Compiled) -> list[Source]:
    """Our first variant of every different kernel that is worth a search, in order of first use."""
    flops: dict[Spec, int] = {}
    first: dict[Spec, Source] = {}
    for kernel in (kernel for tenant in compiled.workload.tenants for kernel in tenant.kernels):
        source = compiled.sources[kernel.variants[0].function]
        first.setdefault(source.spec, source)
        flops[source.spec] = flops.get(source.spec, 0) + kernel.flops
    total = sum(flops.values())
    found = [source for spec, source in first.items() if flops[spec] >= HEAVY * total]
    return [s for s in found if isinstance(s.machine, Machine) and product_of(s.spec, s.machine) is not None]


def _added(compiled: Compiled, made: Mapping[Spec, Source]) -> Compiled:
    def more(kernel: Kernel) -> Kernel:
        source = made.get(compiled.sources[kernel.variants[0].function].spec)
        if source is None:
            return kernel
        return replace(kernel, variants=(*kernel.variants, Variant(source.name, source.tile.count)))

    tenants = tuple(
        replace(tenant, ops=tuple(replace(op, kernels=tuple(map(more, op.kernels))) for op in tenant.ops))
        for tenant in compiled.workload.tenants
    )
    sources = {**compiled.sources, **{source.name: source for source in made.values()}}
    return Compiled(Workload(tenants, compiled.workload.target), sources, compiled.weights)


def chosen(workload: Workload, variants: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    """How many kernels have a variant of MetaSchedule's left after selection, and for how many it is the chosen one."""
    have = use = 0
    for tenant, row in zip(workload.tenants, variants, strict=True):
        for kernel, variant in zip(tenant.kernels, row, strict=True):
            have += any(is_scheduled(one.function) for one in kernel.variants)
            use += is_scheduled(kernel.variants[variant].function)
    return have, use
