"""Compiles kernels and runs them on arrays whose surroundings are watched."""

import ctypes
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gacer_tune.kernels.emit.compile import object_code
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.tensor import Tensor

Array = NDArray[Any]
GUARD = 64  # elements before and after an operand


def host() -> Machine:
    """The widest machine of the table that this processor can run."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return MACHINES["avx512"]
    return MACHINES["avx2"] if {"avx2", "fma"} <= flags else MACHINES["x86-64"]


def machines() -> list[Machine]:
    """Machines whose code this processor can run, each with another vector width."""
    widest = host().vector
    return [machine for machine in MACHINES.values() if machine.vector <= widest]


class Operand:
    """An array behind a strided view, with guards around what the view spans.

    `array` is the view; elements that the view skips and the guards hold `fill`.
    """

    def __init__(self, tensor: Tensor, fill: float = 0.0) -> None:
        dtype = np.dtype(tensor.dtype)
        self.memory = np.full(tensor.span + 2 * GUARD, fill, dtype)
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        self.array = np.lib.stride_tricks.as_strided(self.memory[GUARD:], tensor.shape, strides)

    @property
    def address(self) -> int:
        return int(self.memory.ctypes.data) + GUARD * self.memory.itemsize


def compiled(function: Any, machine: Machine, name: str) -> Any:
    """The kernel as a C function of addresses and the range of work items."""
    with tempfile.TemporaryDirectory() as folder:
        built, library = Path(folder) / "kernel.o", Path(folder) / "kernel.so"
        built.write_bytes(object_code(function, machine))
        subprocess.run(["cc", "-shared", "-o", library, built, "-lm"], check=True)
        return getattr(ctypes.CDLL(str(library)), name)


def call(kernel: Any, operands: Sequence[Operand], lo: int, hi: int) -> None:
    kernel(*(ctypes.c_void_p(operand.address) for operand in operands), lo, hi)
