"""Arrays of other libraries that are on the GPU: read through DLPack, and our own outputs for them to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm_ffi

from gacer_tune.errors import UserError
from gacer_tune.executor.memory import require_fit
from gacer_tune.ir.workload import Port

CUDA = 2  # the device type in DLPack
DEFAULT_STREAM = 1  # the legacy one, in DLPack


@dataclass(frozen=True, slots=True)
class DeviceArray:
    """Memory of the GPU, row-major; torch, cupy and numba read it through the CUDA array interface.

    owner: what the memory belongs to, which lives as long as somebody reads it.
    """

    shape: tuple[int, ...]
    dtype: str
    address: int
    owner: object = field(default=None, repr=False, compare=False)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": np.dtype(self.dtype).str,
            "data": (self.address, False),
            "version": 3,
            "strides": None,
            "stream": None,
        }


def on_gpu(given: Any) -> bool:
    """True for what says through DLPack that it is on a GPU."""
    ask = getattr(given, "__dlpack_device__", None)
    return ask is not None and int(ask()[0]) == CUDA


def address_of(where: str, given: Any, port: Port) -> int:
    """Address of an array on the GPU, which is ready for what follows on CUDA's default stream.

    UserError unless it has the port's shape and type, row-major without gaps.
    """
    try:
        array = tvm_ffi.from_dlpack(given.__dlpack__(stream=DEFAULT_STREAM) if on_gpu(given) else given)
    except BufferError as error:  # torch: a tensor that takes part in training
        raise UserError(f"{where}: {error}") from error
    shape, dtype = tuple(map(int, array.shape)), str(array.dtype)
    require_fit(where, shape, dtype, port)
    if not array.is_contiguous():
        raise UserError(f"{where}: an array with gaps or transposed axes on the GPU, a contiguous one is needed")
    return int(array.data_ptr())
