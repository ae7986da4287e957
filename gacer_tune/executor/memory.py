"""The one block of memory that all buffers of a workload lie in, on a CPU or on a GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from gacer_tune.errors import UserError
from gacer_tune.ir.plan import Memory
from gacer_tune.ir.workload import Port, Workload

SLACK = 256  # bytes after the last buffer that kernels may read (never write) beyond the end of a row

Array = NDArray[Any]


class Block(ABC):
    """What a session does with weights, wherever its memory is."""

    def __init__(self, workload: Workload, memory: Memory) -> None:
        self.workload, self.memory = workload, memory

    def read_weights(self, path: Path) -> None:
        """Copy the weights of a safetensors file, named by content, to their places, one at a time."""
        with safe_open(str(path), framework="numpy") as weights:
            self.place_weights((name, weights.get_tensor(name)) for name in weights.keys())  # noqa: SIM118

    def place_weights(self, weights: Iterable[tuple[str, Array]]) -> None:
        """Copy weights, by content, to their places. KeyError when one belongs to no buffer."""
        places = weight_places(self.workload, self.memory)
        for content, array in weights:
            self._write(places[content], np.ascontiguousarray(array).reshape(-1).view(np.uint8))

    @abstractmethod
    def close(self) -> None:
        """Give back what is not of Python; the session cannot be used any more."""

    @abstractmethod
    def _write(self, offset: int, data: Array) -> None:
        """Copy bytes to an offset of the block; they may be gone afterwards."""


def weight_places(workload: Workload, memory: Memory) -> dict[str, int]:
    """Offset of each weight, by content."""
    return {
        buffer.content: memory.offsets[t][b]
        for t, tenant in enumerate(workload.tenants)
        for b, buffer in enumerate(tenant.buffers)
        if buffer.kind == "weight"
    }


def require_fit(where: str, shape: tuple[int, ...], dtype: str, port: Port) -> None:
    """Refuse an array for a port of another shape or type."""
    if shape != port.shape or dtype != port.dtype:
        raise UserError(f"{where}: {dtype} {shape} given, {port.dtype} {port.shape} needed")


def port_nbytes(port: Port) -> int:
    return int(np.prod(port.shape, dtype=np.int64)) * np.dtype(port.dtype).itemsize
