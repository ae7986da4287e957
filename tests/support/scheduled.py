"""Kernels that MetaSchedule is asked about, and a search of them that all tests of a process share."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from gacer_tune.executor import threads
from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.rules import Source, Spec, candidates
from gacer_tune.kernels.scheduled import Scheduled, product_of
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.metaschedule import search as searching
from gacer_tune.metaschedule.records import KernelRecord
from gacer_tune.metaschedule.search import Place, Searched
from gacer_tune.store.cache import Cache
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.targets import machine_here

MACHINE = machine_here()
CPUS = threads.allowed_cpus()[:2]
TRIALS = 5
BIAS = Program(
    (Step("add", (Arg("acc"), Arg("operand", 0))), Step("relu", (Arg("step", 0),))),
    (Tensor((1, 9, 7, 20), (0, 0, 0, 1)),),
)
CONV = Conv2d(dense((1, 9, 7, 6)), dense((1, 9, 7, 20)), (3, 3), (1, 1), (1, 1), program=BIAS)
MATMUL = BatchMatmul(dense((12, 24)), dense((3, 24, MACHINE.pack)), dense((12, 3 * MACHINE.pack)), constant=True)


def tile_of(spec: Spec, space: int = 0) -> Scheduled:
    """One turn of the parallel loop for each image row (or product row) of any kernel."""
    product = product_of(spec, MACHINE)
    assert product is not None
    images, height, width, groups, vectors = product.output
    taps = product.taps[0] * product.taps[1]
    sizes = ((images, 1, 1, 1), (height, 1, 1, 1), (1, width, 1, 1), (1, groups, 1, 1), (1, vectors, 1, 1))
    return Scheduled(space, (*sizes, (taps, 1), (1, product.channels), (0,)), images * height)


def empty(spec: Spec) -> KernelRecord:
    return KernelRecord(spec, MACHINE, host_fingerprint())


def place(folder: Path) -> Place:
    return Place(Cache(folder), CPUS, lambda _: None, threading.Event())


@cache
def searched(folder: Path) -> tuple[KernelRecord, ...]:
    """Records of a real search of both kernels."""
    kernels = [Searched(Source(spec, candidates(spec, MACHINE)[0], MACHINE), empty(spec)) for spec in (CONV, MATMUL)]
    return tuple(searching.search(kernels, TRIALS, place(folder)))
