"""The real driver: CUDA's runtime through NVIDIA's Python bindings; kernels are launched through TVM's module."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi
from numpy.typing import NDArray

from gacer_tune.devices.cuda.gpu import bindings, call
from gacer_tune.errors import UserError
from gacer_tune.executor.cuda.green import GreenContexts
from gacer_tune.executor.cuda.libraries import load_cuda_runtime
from gacer_tune.executor.cuda.owned import Owned

Array = NDArray[Any]


class Nvidia:
    """GPU `device` of this machine, and the module of a library. Implements `Driver`.

    What it makes is given back by `close`, or when nobody has the driver any more; where that is at the end of the
    process, the end does it.
    """

    def __init__(self, library: Path, device: int = 0) -> None:
        self.cuda = bindings()
        load_cuda_runtime()
        self._number, self._thread = device, threading.local()
        self._bind()
        self._device = tvm_ffi.device("cuda", device)
        self._module = tvm_ffi.load_module(str(library))
        self._functions: dict[str, Any] = {}
        self._owned = Owned(self.cuda)
        self._followed = 0
        self._green: GreenContexts | None = None
        self._free = weakref.finalize(self, self._owned.free)
        self._free.atexit = False

    def close(self) -> None:
        self._free()
        self._functions.clear()
        self._module = None

    def allocate(self, nbytes: int) -> int:
        free, _ = call(self.cuda.cudaMemGetInfo())
        status, address = self.cuda.cudaMalloc(nbytes)
        if status == self.cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise UserError(f"the models need {nbytes} bytes of the GPU's memory, {free} are free")
        self._owned.keep(int(call((status, address))), self.cuda.cudaFree)
        return int(address)

    def staging(self, nbytes: int) -> Array:
        address = int(call(self.cuda.cudaHostAlloc(max(nbytes, 1), 0)))
        self._owned.keep(address, self.cuda.cudaFreeHost)
        block = (ctypes.c_uint8 * max(nbytes, 1)).from_address(address)
        block.owner = self  # type: ignore[attr-defined] # whoever still has the array may read it
        return np.ctypeslib.as_array(block)[:nbytes]

    def upload(self, address: int, data: Array, stream: int) -> None:
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        call(self.cuda.cudaMemcpyAsync(address, data.ctypes.data, data.nbytes, kind, self._owned[stream]))

    def download(self, data: Array, address: int, stream: int) -> None:
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        call(self.cuda.cudaMemcpyAsync(data.ctypes.data, address, data.nbytes, kind, self._owned[stream]))

    def copy(self, to: int, address: int, nbytes: int, stream: int) -> None:
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        call(self.cuda.cudaMemcpyAsync(to, address, nbytes, kind, self._owned[stream]))

    def fill(self, address: int, value: int, nbytes: int, stream: int) -> None:
        call(self.cuda.cudaMemsetAsync(address, value, nbytes, self._owned[stream]))

    def stream(self, priority: int = 0, parts: tuple[int, int] | None = None) -> int:
        if parts is not None:
            if self._green is None:
                self._green = GreenContexts(import_module("cuda.bindings.driver"), self._owned, self._number)
            made = self.cuda.cudaStream_t(self._green.stream(parts, priority))
            return self._owned.keep(made, self.cuda.cudaStreamDestroy)
        # CUDA counts downwards from 0 and takes the highest that there is for what goes beyond.
        made = call(self.cuda.cudaStreamCreateWithPriority(self.cuda.cudaStreamNonBlocking, -priority))
        return self._owned.keep(made, self.cuda.cudaStreamDestroy)

    def event(self, timed: bool = False) -> int:
        flags = self.cuda.cudaEventDefault if timed else self.cuda.cudaEventDisableTiming
        return self._owned.keep(call(self.cuda.cudaEventCreateWithFlags(flags)), self.cuda.cudaEventDestroy)

    def launch(self, function: str, pointers: Sequence[int], span: tuple[int, int], stream: int) -> None:
        self._bind()
        if function not in self._functions:
            self._functions[function] = self._module[function]
        with tvm_ffi.use_raw_stream(self._device, int(self._owned[stream])):
            self._functions[function](*map(ctypes.c_void_p, pointers), *span)

    def record(self, event: int, stream: int) -> None:
        call(self.cuda.cudaEventRecord(self._owned[event], self._owned[stream]))

    def mark(self, event: int, stream: int) -> None:
        flags = self.cuda.cudaEventRecordExternal
        call(self.cuda.cudaEventRecordWithFlags(self._owned[event], self._owned[stream], flags))

    def wait(self, stream: int, event: int) -> None:
        call(self.cuda.cudaStreamWaitEvent(self._owned[stream], self._owned[event], 0))

    def follow(self, stream: int) -> None:
        self._followed = self._followed or self.event()
        # Handle 1: the legacy default stream, which itself comes behind all streams that block.
        call(self.cuda.cudaEventRecord(self._owned[self._followed], self.cuda.cudaStream_t(1)))
        self.wait(stream, self._followed)

    def begin_capture(self, stream: int) -> None:
        mode = self.cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(self.cuda.cudaStreamBeginCapture(self._owned[stream], mode))

    def end_capture(self, stream: int) -> int:
        graph = call(self.cuda.cudaStreamEndCapture(self._owned[stream]))
        return self._owned.keep(graph, self.cuda.cudaGraphDestroy)

    def abandon(self, stream: int) -> None:
        status, graph = self.cuda.cudaStreamEndCapture(self._owned[stream])
        if status == self.cuda.cudaError_t.cudaSuccess:
            call(self.cuda.cudaGraphDestroy(graph))
        self.cuda.cudaGetLastError()  # what is not joined is no news: the capture was not finished

    def instantiate(self, graph: int) -> int:
        flags = int(self.cuda.cudaGraphInstantiateFlags.cudaGraphInstantiateFlagUseNodePriority)
        made = call(self.cuda.cudaGraphInstantiate(self._owned[graph], flags))
        return self._owned.keep(made, self.cuda.cudaGraphExecDestroy)

    def update(self, instance: int, graph: int) -> bool:
        status, _ = self.cuda.cudaGraphExecUpdate(self._owned[instance], self._owned[graph])
        if status == self.cuda.cudaError_t.cudaErrorGraphExecUpdateFailure:
            self.cuda.cudaGetLastError()  # it would come up again at the next launch
            return False
        call((status,))
        return True

    def drop(self, graph: int, instance: int) -> None:
        for number in filter(None, (graph, instance)):
            call(self._owned.drop(number))

    def run(self, instance: int, stream: int) -> None:
        call(self.cuda.cudaGraphLaunch(self._owned[instance], self._owned[stream]))

    def synchronize(self, stream: int) -> None:
        call(self.cuda.cudaStreamSynchronize(self._owned[stream]))

    def elapsed_s(self, begin: int, end: int) -> float:
        milliseconds = call(self.cuda.cudaEventElapsedTime(self._owned[begin], self._owned[end]))
        return float(milliseconds) / 1000

    def _bind(self) -> None:
        """A launch is a call of the driver: unlike the runtime, it needs a context that is current on its thread."""
        if not getattr(self._thread, "bound", False):
            call(self.cuda.cudaSetDevice(self._number))
            self._thread.bound = True
