"""How much of a GPU a range of blocks takes: the share W(O) of GACER, by the limits of the architecture.

Limits and allocation granularity: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability", and
NVIDIA's occupancy calculator (`cuda_occupancy.h`).
"""

from __future__ import annotations

from dataclasses import dataclass

from gacer_tune.errors import UserError
from gacer_tune.kernels.cuda.compile import Resources
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.tensor import ceildiv

WARP = 32
SCHEDULERS = 4  # of a multiprocessor, each with a quarter of the registers
REGISTER_UNIT = 256  # registers that a warp is given at a time
SHARED_UNIT = 128  # bytes of shared memory that a block is given at a time


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one multiprocessor. reserved: bytes of shared memory that the system takes for each block."""

    blocks: int
    warps: int
    registers: int
    shared_nbytes: int
    reserved_nbytes: int = 1024
    block_shared_nbytes: int = 0  # the most that one block may have


LIMITS = {
    "sm_80": Limits(32, 64, 65536, 164 * 1024, block_shared_nbytes=163 * 1024),
    "sm_90": Limits(32, 64, 65536, 228 * 1024, block_shared_nbytes=227 * 1024),
}


def limits(arch: str) -> Limits:
    found = LIMITS.get(arch.rstrip("a"))
    if found is None:
        raise UserError(f"{arch}: no limits of this architecture are known, only of {', '.join(LIMITS)}")
    return found


def blocks_per_sm(resources: Resources, arch: str) -> int:
    """Blocks of a kernel that run on one multiprocessor at the same time; 0 if not even one fits."""
    limit = limits(arch)
    if resources.shared_nbytes > limit.block_shared_nbytes:
        return 0
    warps = ceildiv(resources.threads, WARP)
    registers = ceildiv(max(resources.registers, 1) * WARP, REGISTER_UNIT) * REGISTER_UNIT  # of a warp
    resident = limit.registers // SCHEDULERS // registers * SCHEDULERS  # warps whose registers fit
    shared = ceildiv(resources.shared_nbytes + limit.reserved_nbytes, SHARED_UNIT) * SHARED_UNIT
    return min(limit.blocks, limit.warps // warps, resident // warps, limit.shared_nbytes // shared)


def share(blocks: int, resources: Resources, gpu: Gpu) -> float:
    """W(O) of a range of blocks: the part of the GPU's block slots that they fill, at most 1 (GACER, section 3)."""
    slots = gpu.sms * blocks_per_sm(resources, gpu.arch)
    if not slots:
        raise ValueError(f"a block of {resources} does not fit on {gpu.arch}")
    return min(1.0, blocks / slots)
