"""What is compared: ways to run the same models on the same inputs and the same cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]  # of one tenant, by name
Results = dict[str, Arrays]  # by tenant
RunOne = Callable[[], Arrays]
RunAll = Callable[[], Results]

OURS, OURS_SEQUENTIAL = "ours", "ours sequential"


class RefusedError(Exception):
    """A peer cannot load or run one of the models; the message says which and why."""


@dataclass(frozen=True)
class Task:
    """What every system runs. models: serialized ONNX with static shapes; all are by tenant, in the same order.

    inputs are in the order of the model's own; outputs are the names that are compared; cpus are those of the lanes.
    precision: what the models are multiplied in by us, and by peers that can.
    """

    models: Mapping[str, bytes]
    inputs: Mapping[str, Mapping[str, Array]]
    outputs: Mapping[str, tuple[str, ...]]
    cpus: tuple[int, ...]
    precision: str = "fp32"

    @property
    def default_threads(self) -> int:
        """The thread count with which a runtime takes its own default: 0, unless that could leave our cpus."""
        return 0 if len(self.cpus) == os.cpu_count() else len(self.cpus)


@dataclass(frozen=True, slots=True)
class System:
    """One way to run all tenants once. What `run` returns is valid until it is called again."""

    name: str
    peer: str
    run: RunAll


def one_by_one(runs: Mapping[str, RunOne]) -> RunAll:
    """The models in turn, from the calling thread."""

    def run() -> Results:
        return {tenant: call() for tenant, call in runs.items()}

    return run


def all_at_once(runs: Mapping[str, RunOne], stack: ExitStack) -> RunAll:
    """Each model from a thread of its own, which lives until `stack` closes; done when the last one is."""
    pools = {tenant: stack.enter_context(ThreadPoolExecutor(1)) for tenant in runs}

    def run() -> Results:
        started = [(tenant, pools[tenant].submit(call)) for tenant, call in runs.items()]
        return {tenant: future.result() for tenant, future in started}

    return run


def copied(results: Mapping[str, Mapping[str, Any]]) -> Results:
    """Values that outlive the next run."""
    return {tenant: {name: np.array(array) for name, array in row.items()} for tenant, row in results.items()}
