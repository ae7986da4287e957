"""CUDA's runtime as its Python bindings show it, and TVM's launches, on a `FakeDriver`: refuses what the real ones do.

Work waits in its stream until somebody synchronizes: what reads too early, or frees too early, finds the old bytes.
"""

# ruff: noqa: N802, N815 - names are those of the bindings

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from tests.cuda.fake_bindings import (
    LEGACY,
    OK,
    Answer,
    cudaError_t,
    cudaEvent_t,
    cudaGraph_t,
    cudaGraphExec_t,
    cudaGraphInstantiateFlags,
    cudaMemcpyKind,
    cudaStream_t,
    cudaStreamCaptureMode,
    takes,
)
from tests.cuda.fake_driver import Array, CaptureError, FakeDriver


class FakeCuda:
    """The runtime. `driver` holds the memory, and the rules of capture."""

    cudaError_t = cudaError_t
    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaGraphInstantiateFlags = cudaGraphInstantiateFlags
    cudaStream_t = cudaStream_t
    cudaStreamNonBlocking, cudaEventDefault, cudaEventDisableTiming, cudaEventRecordExternal = 1, 0, 2, 1

    def __init__(self, driver: FakeDriver, free: int = 1 << 40) -> None:
        self.driver, self.free = driver, free
        self.pinned: dict[int, Array] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {LEGACY: []}
        self.bound: set[int] = set()  # threads with a current context
        self.blocks: set[int] = set()
        self.events: set[int] = set()
        self.mode = cudaStreamCaptureMode.cudaStreamCaptureModeGlobal
        self.recorded: dict[int, tuple[int, int]] = {}  # event -> its stream, and how much of it comes before
        self.last = OK
        driver.count = max(driver.count, LEGACY)  # numbers of its streams are others

    def left(self) -> dict[str, int]:
        """How much of what was made is not given back."""
        found = {"memory": self.blocks, "pinned": self.pinned, "streams": self.queues.keys() - {LEGACY}}
        found |= {"events": self.events, "graphs": self.driver.graphs, "instances": self.driver.instances}
        return {kind: len(made) for kind, made in found.items() if made}

    def unsafe(self, what: str) -> None:
        """Calls that a capture of this thread, or a global one of another, does not survive."""
        if self.mode != cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed:
            raise CaptureError(f"{what} in a thread that has not said that it spoils no capture")

    def give(self, stream: int, work: Callable[[], None]) -> None:
        if stream in self.driver.tails and self.driver.capturing is not None:
            raise CaptureError("a copy would be captured")
        self.queues[stream].append(work)

    def finish(self, stream: int) -> None:
        while self.queues[stream]:
            self.queues[stream].pop(0)()

    def host(self, address: int, nbytes: int) -> Array:
        """Memory of the host; what is not pinned is as it is now."""
        found = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
        for start, block in self.pinned.items():
            if start <= address < start + len(block):
                assert address + nbytes <= start + len(block), "beyond the end of pinned memory"
                return found
        return found.copy()

    @takes(0, int)
    def cudaSetDevice(self, device: int) -> Answer:
        return (OK if device == 0 else cudaError_t.cudaErrorInvalidValue,)

    @takes(2)
    def cudaMemGetInfo(self) -> Answer:
        return OK, self.free, self.free

    @takes(1, int)
    def cudaMalloc(self, nbytes: int) -> Answer:
        if nbytes > self.free:
            return cudaError_t.cudaErrorMemoryAllocation, None
        self.blocks.add(address := self.driver.allocate(nbytes))
        return OK, address

    @takes(0, int)
    def cudaFree(self, address: int) -> Answer:
        self.unsafe("cudaFree")
        self.blocks.remove(address)
        return (OK,)

    @takes(0, int)
    def cudaFreeHost(self, address: int) -> Answer:
        self.unsafe("cudaFreeHost")
        del self.pinned[address]
        return (OK,)

    @takes(1, int, int)
    def cudaHostAlloc(self, nbytes: int, flags: int) -> Answer:
        assert nbytes > 0 and flags == 0
        block = np.full(nbytes, 0xEE, np.uint8)
        self.pinned[block.ctypes.data] = block
        return OK, block.ctypes.data

    @takes(0, int, int, int, cudaMemcpyKind, cudaStream_t)
    def cudaMemcpyAsync(self, to: int, source: int, nbytes: int, kind: cudaMemcpyKind, stream: cudaStream_t) -> Answer:
        device = self.driver.place
        if kind == cudaMemcpyKind.cudaMemcpyDeviceToDevice:
            device(to, nbytes), device(source, nbytes)
            self.give(stream.number, lambda: np.copyto(device(to, nbytes), device(source, nbytes)))
        elif kind == cudaMemcpyKind.cudaMemcpyHostToDevice:
            device(to, nbytes)
            data = self.host(source, nbytes)
            self.give(stream.number, lambda: np.copyto(device(to, nbytes), data))
        else:
            device(source, nbytes)
            data = self.host(to, nbytes)
            self.give(stream.number, lambda: np.copyto(data, device(source, nbytes)))
        return (OK,)

    @takes(0, int, int, int, cudaStream_t)
    def cudaMemsetAsync(self, address: int, value: int, nbytes: int, stream: cudaStream_t) -> Answer:
        assert 0 <= value < 256
        self.driver.place(address, nbytes)
        self.give(stream.number, lambda: self.driver.place(address, nbytes).fill(value))
        return (OK,)

    @takes(1, int, int)
    def cudaStreamCreateWithPriority(self, flags: int, priority: int) -> Answer:
        assert flags == self.cudaStreamNonBlocking
        return OK, self.new_stream(max(-5, min(0, priority)))

    def new_stream(self, priority: int, parts: tuple[int, int] | None = None) -> cudaStream_t:
        made = cudaStream_t(self.driver.stream(-priority, parts))
        self.queues[made.number] = []
        return made

    @takes(0, cudaStream_t)
    def cudaStreamDestroy(self, stream: cudaStream_t) -> Answer:
        assert not self.queues.pop(stream.number), "destroyed before its work was done"
        stream.alive = False
        return (OK,)

    @takes(1, int)
    def cudaEventCreateWithFlags(self, flags: int) -> Answer:
        assert flags in (self.cudaEventDefault, self.cudaEventDisableTiming)
        made = cudaEvent_t(self.driver.event(flags == self.cudaEventDefault))
        self.events.add(made.number)
        return OK, made

    @takes(0, cudaEvent_t)
    def cudaEventDestroy(self, event: cudaEvent_t) -> Answer:
        self.events.remove(event.number)
        event.alive = False
        return (OK,)

    @takes(0, cudaEvent_t, cudaStream_t)
    def cudaEventRecord(self, event: cudaEvent_t, stream: cudaStream_t) -> Answer:
        if self.driver.capturing is not None:
            self.driver.record(event.number, stream.number)
            return (OK,)
        self.driver.reached.pop(event.number, None)
        self.recorded[event.number] = (stream.number, len(self.queues[stream.number]))
        self.queues[stream.number].append(lambda: self.driver.reach(event.number))
        return (OK,)

    @takes(0, cudaEvent_t, cudaStream_t, int)
    def cudaEventRecordWithFlags(self, event: cudaEvent_t, stream: cudaStream_t, flags: int) -> Answer:
        assert flags == self.cudaEventRecordExternal
        if self.driver.capturing is None:
            raise CaptureError("an external record outside of a capture")
        self.driver.mark(event.number, stream.number)
        return (OK,)

    @takes(0, cudaStream_t, cudaEvent_t, int)
    def cudaStreamWaitEvent(self, stream: cudaStream_t, event: cudaEvent_t, flags: int) -> Answer:
        assert flags == 0
        if self.driver.capturing is not None:
            self.driver.wait(stream.number, event.number)
        elif event.number in self.recorded:
            other = self.recorded[event.number][0]
            self.queues[stream.number].append(lambda: self.finish(other))
        return (OK,)

    @takes(0, cudaStream_t, cudaStreamCaptureMode)
    def cudaStreamBeginCapture(self, stream: cudaStream_t, mode: cudaStreamCaptureMode) -> Answer:
        assert mode == cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        if stream.number == LEGACY:
            raise CaptureError("the default stream cannot be captured")
        self.driver.begin_capture(stream.number)
        return (OK,)

    @takes(1, cudaStreamCaptureMode)
    def cudaThreadExchangeStreamCaptureMode(self, mode: cudaStreamCaptureMode) -> Answer:
        before, self.mode = self.mode, mode
        return OK, before

    @takes(1, cudaStream_t)
    def cudaStreamEndCapture(self, stream: cudaStream_t) -> Answer:
        try:
            return OK, cudaGraph_t(self.driver.end_capture(stream.number))
        except CaptureError:
            self.last = cudaError_t.cudaErrorStreamCaptureInvalidated
            return self.last, None

    @takes(1, cudaGraph_t, int)
    def cudaGraphInstantiate(self, graph: cudaGraph_t, flags: int) -> Answer:
        assert flags == cudaGraphInstantiateFlags.cudaGraphInstantiateFlagUseNodePriority
        return OK, cudaGraphExec_t(self.driver.instantiate(graph.number))

    @takes(1, cudaGraphExec_t, cudaGraph_t)
    def cudaGraphExecUpdate(self, instance: cudaGraphExec_t, graph: cudaGraph_t) -> Answer:
        if self.driver.update(instance.number, graph.number):
            return OK, None
        self.last = cudaError_t.cudaErrorGraphExecUpdateFailure
        return self.last, None

    @takes(0, cudaGraphExec_t, cudaStream_t)
    def cudaGraphLaunch(self, instance: cudaGraphExec_t, stream: cudaStream_t) -> Answer:
        graph = self.driver.instances[instance.number]  # as it is now: what is updated later runs later
        self.give(stream.number, lambda: self.driver.carry_out(graph))
        return (OK,)

    @takes(0, cudaGraph_t)
    def cudaGraphDestroy(self, graph: cudaGraph_t) -> Answer:
        self.driver.drop(graph.number, 0)
        graph.alive = False
        return (OK,)

    @takes(0, cudaGraphExec_t)
    def cudaGraphExecDestroy(self, instance: cudaGraphExec_t) -> Answer:
        self.driver.drop(0, instance.number)
        instance.alive = False
        return (OK,)

    @takes(0, cudaStream_t)
    def cudaStreamSynchronize(self, stream: cudaStream_t) -> Answer:
        self.driver.outside("synchronize")
        self.finish(stream.number)
        return (OK,)

    @takes(1, cudaEvent_t, cudaEvent_t)
    def cudaEventElapsedTime(self, begin: cudaEvent_t, end: cudaEvent_t) -> Answer:
        if not {begin.number, end.number} <= self.driver.timed:
            return cudaError_t.cudaErrorInvalidResourceHandle, None
        if not {begin.number, end.number} <= set(self.driver.reached):
            return cudaError_t.cudaErrorNotReady, None
        return OK, 1000.0 * self.driver.elapsed_s(begin.number, end.number)

    @takes(0)
    def cudaGetLastError(self) -> Answer:
        last, self.last = self.last, OK
        return (last,)
