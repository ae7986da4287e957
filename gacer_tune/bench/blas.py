"""What numpy reaches on given CPUs, in a process of its own: BLAS makes its threads when numpy is first imported.

`python -m gacer_tune.bench.blas CPU,CPU,...` prints {"sgemm_flops_s": ..., "copy_nbytes_s": ...}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SIDES = (512, 1024)  # of the square matrices
COPY_NBYTES = 512 << 20  # sources and targets together: no cache holds them
TIMED_S = 0.6
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")


def best_s(run: Callable[[], Any], timed_s: float = TIMED_S) -> float:
    """Seconds of the fastest run of those that fit into `timed_s`, at least three, after one that is not timed."""
    run()
    seconds: list[float] = []
    end = time.perf_counter() + timed_s
    while len(seconds) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def sgemm_flops_s(side: int) -> float:
    import numpy as np

    left, right = (np.random.default_rng(seed).random((side, side), np.float32) for seed in (0, 1))
    out = np.empty((side, side), np.float32)
    return 2.0 * side**3 / best_s(lambda: np.matmul(left, right, out=out))


def copy_nbytes_s(cpus: Sequence[int]) -> float:
    """Bytes read and written in a second while all cores copy."""
    import numpy as np

    size = COPY_NBYTES // 2 // len(cpus)
    blocks = [(np.zeros(size, np.uint8), np.ones(size, np.uint8)) for _ in cpus]
    with ThreadPoolExecutor(len(cpus)) as pool:
        seconds = best_s(lambda: list(pool.map(lambda pair: np.copyto(*pair), blocks)))
    return 2 * size * len(cpus) / seconds


def main(cpus: Sequence[int]) -> None:
    os.sched_setaffinity(0, cpus)
    os.environ.update(dict.fromkeys(_THREADS, str(len(cpus))))
    found = {"sgemm_flops_s": max(map(sgemm_flops_s, SIDES)), "copy_nbytes_s": copy_nbytes_s(cpus)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main([int(cpu) for cpu in sys.argv[1].split(",")])
