"""Machines and tenants with room between the baselines and the best plan: ops too narrow to fill the lanes, and tenants
of very different length. The kernel times are recorded ones, the machine is simulated as in tests.replay.curves; but
kernels can be cut into a few pieces only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Tenant, Variant, Workload
from gacer_tune.learning.recording import Recording, read_recording
from gacer_tune.search.simulated import SimulatedDevice
from tests.replay.curves import SURPRISE, machine
from tests.replay.spaces import mixes

NOISE = 0.02
# Tenants of the recordings, lanes, and the most work items of a kernel.
ROOMS: MappingProxyType[str, tuple[tuple[str, ...], int, int]] = MappingProxyType(
    {
        "resnet18+squeezenet": (("resnet18", "squeezenet"), 8, 5),
        "mobilenet_v2+squeezenet+shufflenet": (("mobilenet_v2", "squeezenet", "shufflenet"), 8, 3),
        "efficientnet_b0+squeezenet": (("efficientnet_b0", "squeezenet"), 6, 3),
        "vit_tiny+mobilenet_v2+squeezenet": (("vit_tiny", "mobilenet_v2", "squeezenet"), 8, 3),
    }
)


@dataclass(frozen=True)
class Room(SimulatedDevice):
    """true_s is what a schedule takes without noise."""

    def true_s(self, schedule: Schedule) -> float:
        return self.timeline(lower(self.workload, schedule, self._memory)).makespan_s


@cache
def recordings() -> tuple[Recording, ...]:
    return tuple(read_recording(path) for path in mixes().values())


def room(name: str, seed: int) -> Room:
    names, lanes, most = ROOMS[name]
    workload, profile = together(names)
    narrow = Workload(tuple(narrowed(tenant, most) for tenant in workload.tenants))
    return Room(narrow, machine(profile, lanes), lanes, noise=NOISE, seed=seed, contention=SURPRISE)


def narrowed(tenant: Tenant, most: int) -> Tenant:
    """The tenant with kernels of at most so many work items, which take as long as the recorded ones together."""
    ops = tuple(
        replace(op, kernels=tuple(replace(k, variants=tuple(_few(v, most) for v in k.variants)) for k in op.kernels))
        for op in tenant.ops
    )
    return replace(tenant, ops=ops)


def _few(variant: Variant, most: int) -> Variant:
    return replace(variant, items=min(variant.items, most))


def together(names: tuple[str, ...]) -> tuple[Workload, Profile]:
    """Recorded tenants as one workload; hand-over and launch times are those of the first one's recording."""
    found = {}
    for recording in recordings():
        for number, tenant in enumerate(recording.workload.tenants):
            profile = recording.profile
            found[tenant.name] = tenant, profile.alone[number], profile.shared[number], profile
    tenants, alone, shared, profiles = zip(*(found[name] for name in names), strict=True)
    return Workload(tenants), Profile(alone, shared, profiles[0].handover_s, profiles[0].launch_s)
