"""What CUDA's runtime calls are made of in its Python bindings: codes, kinds of handles, arguments of exact types."""

# ruff: noqa: N801, N815 - names are those of the bindings

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class cudaError_t(IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInvalidResourceHandle = 400
    cudaErrorNotReady = 600
    cudaErrorStreamCaptureInvalidated = 901
    cudaErrorGraphExecUpdateFailure = 910


class cudaMemcpyKind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class cudaStreamCaptureMode(IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1
    cudaStreamCaptureModeRelaxed = 2


class cudaGraphInstantiateFlags(IntEnum):
    cudaGraphInstantiateFlagUseNodePriority = 8


@dataclass(eq=False)
class Handle:
    number: int
    alive: bool = True

    def __int__(self) -> int:
        return self.number


class cudaStream_t(Handle): ...


class cudaEvent_t(Handle): ...


class cudaGraph_t(Handle): ...


class cudaGraphExec_t(Handle): ...


OK = cudaError_t.cudaSuccess
LEGACY = 1  # the handle of the default stream
Answer = tuple[Any, ...]


def takes(results: int, *kinds: type) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """A call that takes arguments of exactly these types, handles that are alive, and answers with so many results."""

    def wrap(call: Callable[..., Answer]) -> Callable[..., Answer]:
        @functools.wraps(call)
        def checked(cuda: Any, *given: Any) -> Answer:
            assert len(given) == len(kinds), f"{call.__name__}: {len(given)} arguments, it takes {len(kinds)}"
            for value, kind in zip(given, kinds, strict=True):
                assert type(value) is kind, f"{call.__name__}: {value!r} is no {kind.__name__}"
                assert not isinstance(value, Handle) or value.alive, f"{call.__name__}: {value!r} was destroyed"
            cuda.bound.add(threading.get_ident())
            answer = call(cuda, *given)
            assert len(answer) == 1 + results, "the fake itself is wrong"
            return answer

        checked.kinds, checked.results = kinds, results  # type: ignore[attr-defined]
        return checked

    return wrap
