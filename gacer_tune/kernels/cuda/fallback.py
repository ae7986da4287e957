"""Variants of `Stage` on a GPU: a thread makes one turn of the outer loops that are independent of each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.fallback import Stage
from gacer_tune.kernels.tensor import ceildiv


@dataclass(frozen=True, slots=True)
class StageTile:
    """Threads of a block."""

    threads: int


def items(spec: Stage, tile: StageTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return ceildiv(prod(spec.loops), tile.threads)


def candidates(spec: Stage, gpu: Gpu) -> list[StageTile]:  # noqa: ARG001 - the same for all
    """Variants worth measuring, most promising first; loops that cannot be cut are walked by a single thread."""
    return [StageTile(128), StageTile(32)] if prod(spec.loops) > 32 else [StageTile(32)]
