"""TVM's launches on a `FakeCuda`: they go to the current stream, and fail where a context or a library would."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.cuda.fake_cuda import FakeCuda


class FakeTvm:
    """TVM's FFI as far as launches go. A function of the module is called as one of a real library is."""

    def __init__(self, cuda: FakeCuda, functions: Sequence[str]) -> None:
        self.cuda, self.functions = cuda, functions
        self.stream: int | None = None

    def device(self, kind: str, number: int) -> str:
        return f"{kind}:{number}"

    def load_module(self, path: str) -> FakeTvm:
        assert path.endswith("module.so")
        return self

    @contextmanager
    def use_raw_stream(self, device: str, stream: int) -> Iterator[None]:
        assert device == "cuda:0" and type(stream) is int
        self.stream = stream
        yield
        self.stream = None

    def __getitem__(self, name: str) -> Callable[..., None]:
        if name not in self.functions:
            raise AttributeError(f"Module has no function '{name}'")
        return functools.partial(self.launch, name)

    def launch(self, name: str, *given: Any) -> None:
        """In a thread without a context, or with an error of the runtime that nobody asked for, launches fail."""
        *pointers, lo, hi = given
        assert all(type(pointer) is ctypes.c_void_p for pointer in pointers) and type(lo) is type(hi) is int
        if threading.get_ident() not in self.cuda.bound or self.cuda.last or self.stream is None:
            raise RuntimeError("CUDA_ERROR_INVALID_CONTEXT")
        driver, addresses = self.cuda.driver, [int(pointer.value) for pointer in pointers]
        if driver.capturing is not None:
            driver.launch(name, addresses, (lo, hi), self.stream)
            return
        driver.loaded.add(name)
        self.cuda.give(self.stream, lambda: driver.kernel(name, addresses, (lo, hi)))
