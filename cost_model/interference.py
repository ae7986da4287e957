"""How much slices slow each other down when they overlap, from pairs of kernels that were timed side by side.

A kernel's demand is the rate at which it streams bytes that no core's own cache holds. Beside another busy lane it
takes 1 + busy + stream x (its demand) x (the other's demand) times as long: `busy` is what any neighbour costs (shared
core, clock), `stream` what two that stream cost each other (memory bandwidth). More neighbours add up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gacer_tune.ir.workload import Kernel, Tenant

Matrix = npt.NDArray[np.float64]

OWN_CACHE_NBYTES = 1 << 20  # values up to this size stay in the cache of the core that wrote them
UNIT = 1e10  # demand 1 is 10 GB/s: what one lane of a small machine gets from its memory
MIN_PAIRS = 8
_BOUND = 1.5


@dataclass(frozen=True, slots=True)
class Interference:
    """error, plain_error: mean error of predicted slow-downs, of the fit and of "no slow-down", weighted by time, on
    runs that the fit did not see; pairs: slices that it was fitted to. All 0 where nobody has measured.
    """

    busy: float = 0.0
    stream: float = 0.0
    error: float = 0.0
    plain_error: float = 0.0
    pairs: int = 0

    def __post_init__(self) -> None:
        for name in ("busy", "stream", "error", "plain_error"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"interference: {name}: {value}, a finite number not below 0")

    def slowdown(self, own: float, others: Sequence[float]) -> float:
        """Factor on the time of a slice of demand `own` beside running slices of these demands."""
        return 1.0 + self.busy * len(others) + self.stream * own * sum(others)


class Pair(NamedTuple):
    """A slice that was timed beside others. `beside`, `pressure`: sums over those of the share of its time that they
    overlapped, plain and times their demand; `run` tells the timed runs apart.
    """

    run: int
    alone_s: float
    beside_s: float
    demand: float
    beside: float
    pressure: float


def streamed_nbytes(tenant: Tenant, kernel: Kernel) -> int:
    """Bytes that a kernel gets from or leaves to memory that cores share: weights, and values too large to stay."""
    sizes = {operand.buffer: tenant.buffers[operand.buffer] for operand in kernel.operands}
    return sum(b.nbytes for b in sizes.values() if b.kind == "weight" or b.nbytes > OWN_CACHE_NBYTES)


def demand(tenant: Tenant, kernel: Kernel, alone_s: float) -> float:
    """In UNIT; 0 for a kernel that takes no time. nbytes is the bound: tables are never read whole."""
    return min(streamed_nbytes(tenant, kernel), kernel.nbytes) / alone_s / UNIT if alone_s > 0 else 0.0


def fit_interference(pairs: Sequence[Pair]) -> Interference:
    """Weighted least squares, neither coefficient below 0; errors by leaving out one run after the other.

    No slow-down at all where that predicts the runs left out as well: then what was seen is noise.
    """
    runs = sorted({pair.run for pair in pairs})
    if len(pairs) < MIN_PAIRS or len(runs) < 2:
        return Interference()
    error = plain = total = 0.0
    for run in runs:
        busy, stream = _coefficients([pair for pair in pairs if pair.run != run])
        for pair in (pair for pair in pairs if pair.run == run):
            slower = _slower(pair)
            error += pair.alone_s * abs(slower - busy * pair.beside - stream * pair.demand * pair.pressure)
            plain += pair.alone_s * abs(slower)
            total += pair.alone_s
    if error >= plain:
        return Interference(0.0, 0.0, plain / total, plain / total, len(pairs))
    return Interference(*_coefficients(pairs), error / total, plain / total, len(pairs))


def _slower(pair: Pair) -> float:
    """Measured slow-down, bounded: a slice that was interrupted tells nothing of its neighbours."""
    return min(max(pair.beside_s / pair.alone_s - 1.0, -_BOUND), _BOUND)


def _coefficients(pairs: Sequence[Pair]) -> tuple[float, float]:
    matrix = np.array([(pair.beside, pair.demand * pair.pressure) for pair in pairs])
    slower = np.array([_slower(pair) for pair in pairs])
    weight = np.sqrt([pair.alone_s for pair in pairs])
    both = _least_squares(matrix, slower, weight)
    if min(both) >= 0:
        return both[0], both[1]
    alone = [max(0.0, *_least_squares(matrix[:, [column]], slower, weight)) for column in (0, 1)]
    misses = [float(np.sum((weight * (slower - c * matrix[:, i])) ** 2)) for i, c in enumerate(alone)]
    return (alone[0], 0.0) if misses[0] <= misses[1] else (0.0, alone[1])


def _least_squares(matrix: Matrix, target: Matrix, weight: Matrix) -> list[float]:
    found: list[float] = np.linalg.lstsq(matrix * weight[:, None], target * weight, rcond=None)[0].tolist()
    return found
