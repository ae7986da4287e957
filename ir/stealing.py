"""How finely lanes steal from each other's slices: in grains, which are worth the trouble."""

from __future__ import annotations

from math import ceil

from gacer_tune.ir.plan import Slice
from gacer_tune.ir.workload import Kernel, Variant, Workload

GRAIN_FLOPS, GRAIN_NBYTES = 1.6e6, 2.4e5  # the least that is taken at once: about 20 us of a core
UNDIVIDED = frozenset({"conv2d_inverted"})  # items of a call hand results on: each cut computes some of them again


def grain_of(workload: Workload, piece: Slice) -> int:
    """The least number of items that are taken at once of a slice; 0 where nothing is."""
    tenant = workload.tenants[piece.tenant]
    if tenant.op_of[piece.kernel].kind in UNDIVIDED:
        return 0
    kernel = tenant.kernels[piece.kernel]
    return grain(kernel, kernel.variants[piece.variant], piece.hi - piece.lo)


def grain(kernel: Kernel, variant: Variant, items: int) -> int:
    """The least number of items to take at once of a slice that has so many; 0 where it is too short for thieves."""
    worth = kernel.flops / GRAIN_FLOPS + kernel.nbytes / GRAIN_NBYTES
    least = ceil(variant.items / worth) if worth else items
    return least if items >= 2 * least else 0
