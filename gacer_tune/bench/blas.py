"""What numpy reaches on given CPUs, in a process of its own: BLAS makes its threads when numpy is first imported.

`python -m gacer_tune.bench.blas CPU,CPU,...` answers each line that it reads with {"sgemm_flops_s": ...,
"copy_nbytes_s": ...}, measured then.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

SIDES = (512, 1024)  # of the square matrices
COPY_NBYTES = 512 << 20  # sources and targets together: no cache holds them
RUNS = 5
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")


def median(measure: Callable[[], float]) -> float:
    """Of RUNS measurements, after one that does not count."""
    measure()
    return statistics.median(measure() for _ in range(RUNS))


def median_s(run: Callable[[], Any]) -> float:
    """Median seconds of RUNS runs, after one that is not timed."""

    def seconds() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return median(seconds)


def sgemm(side: int) -> Callable[[], float]:
    """Measures operations a second."""
    import numpy as np

    left, right = (np.random.default_rng(seed).random((side, side), np.float32) for seed in (0, 1))
    out = np.empty((side, side), np.float32)
    return lambda: 2.0 * side**3 / median_s(lambda: np.matmul(left, right, out=out))


def copy(pool: ThreadPoolExecutor, cores: int) -> Callable[[], float]:
    """Measures bytes read and written in a second while all cores copy."""
    import numpy as np

    size = COPY_NBYTES // 2 // cores
    blocks = [(np.zeros(size, np.uint8), np.ones(size, np.uint8)) for _ in range(cores)]
    return lambda: 2 * size * cores / median_s(lambda: list(pool.map(lambda pair: np.copyto(*pair), blocks)))


def answer(cpus: Sequence[int], asked: IO[str], told: IO[str]) -> None:
    """A line of JSON for each line that is asked."""
    os.sched_setaffinity(0, cpus)
    os.environ.update(dict.fromkeys(_THREADS, str(len(cpus))))
    with ThreadPoolExecutor(len(cpus)) as pool:
        products, copying = [sgemm(side) for side in SIDES], copy(pool, len(cpus))
        for _ in asked:
            found = {"sgemm_flops_s": max(product() for product in products), "copy_nbytes_s": copying()}
            told.write(json.dumps(found) + "\n")
            told.flush()


if __name__ == "__main__":
    answer([int(cpu) for cpu in sys.argv[1].split(",")], sys.stdin, sys.stdout)
