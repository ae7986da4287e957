"""What a tuning run would do, counted: nothing is compiled, measured or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gacer_tune.events import Listen
from gacer_tune.kernels import build
from gacer_tune.preparing import read_models
from gacer_tune.store.cache import Cache, open_cache
from gacer_tune.targets import lanes_of, machine_of
from gacer_tune.tenants import Compiled, assemble

if TYPE_CHECKING:
    from gacer_tune.settings import Settings

KERNEL_TRIAL_S = 0.3  # to propose, compile and time one with MetaSchedule takes on two quiet cores


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do. kernels_to_search: by MetaSchedule, with at most kernel_trials of what is tried for all of
    them together and about search_s seconds; 0 without it, and where the cache knows its answers.
    """

    tenants: int
    ops: int
    kernels: int
    functions_to_compile: int
    lanes: int
    budget_s: float
    kernels_to_search: int = 0
    kernel_trials: int = 0
    search_s: float = 0.0


def plan_dry(settings: Settings, listen: Listen) -> DryRun:
    """Read and lower the models and count; compile and measure nothing."""
    cpus, machine = lanes_of(settings), machine_of(settings)
    cache = open_cache(settings.cache)
    compiled = assemble(read_models(settings, machine, listen), machine)
    tenants = compiled.workload.tenants
    searches = _searches(settings, compiled, cache)
    return DryRun(
        tenants=len(tenants),
        ops=sum(len(tenant.ops) for tenant in tenants),
        kernels=sum(len(tenant.kernels) for tenant in tenants),
        functions_to_compile=sum(cache.get(build.key(name)) is None for name in compiled.sources),
        lanes=len(cpus),
        budget_s=settings.budget_s,
        kernels_to_search=len(searches),
        kernel_trials=sum(searches),
        search_s=KERNEL_TRIAL_S * sum(searches),
    )


def _searches(settings: Settings, compiled: Compiled, cache: Cache) -> list[int]:
    """Trials of each kernel that MetaSchedule would search."""
    if settings.kernels != "metaschedule":
        return []
    from gacer_tune.metaschedule.variants import trials_left

    return trials_left(compiled, settings.kernel_trials, cache)
