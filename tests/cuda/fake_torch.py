"""As much of PyTorch as the peer calls, on numpy: it notes where and how each model runs."""

# ruff: noqa: ARG002 - names are those of PyTorch

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np


class Tensor(np.ndarray[Any, Any]):
    def dim(self) -> int:
        return self.ndim

    def is_floating_point(self) -> bool:
        return self.dtype.kind == "f"

    def cuda(self) -> Tensor:
        return self

    def float(self) -> Any:
        return self.astype(np.float32)

    def to(self, dtype: Any, memory_format: str = "") -> Any:
        made = self.astype(dtype).view(Tensor)
        made.format = memory_format  # type: ignore[attr-defined]
        return made


class Stream:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


class Event:
    """Two milliseconds lie between any two."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def record(self) -> None:
        self.log.append("end of it" if self.log[-1] != "flush" else "begin")

    def synchronize(self) -> None: ...

    def elapsed_time(self, end: Event) -> float:
        return 2.0


class FakeTorch:
    """log: what was done in which order; a product is noted with its stream, and with how it is run."""

    float16, float32, uint8, channels_last = np.float16, np.float32, np.uint8, "channels_last"
    __version__ = "0.0"
    add, div, relu = staticmethod(np.add), staticmethod(np.divide), staticmethod(lambda x: np.maximum(x, 0))

    def __init__(self) -> None:
        self.log: list[str] = []
        self.how: list[str] = []
        self.made = 0
        self.main = self.now = Stream("main", self.log)
        self.cuda = SimpleNamespace(
            Stream=self.stream, current_stream=lambda: self.now, stream=self.on, graph=self.capture,
            CUDAGraph=lambda: SimpleNamespace(replay=lambda: self.log.append("replay")),
            synchronize=lambda: self.log.append("synchronize"),
            Event=self.event,
        )  # fmt: skip
        self.backends = SimpleNamespace(
            cudnn=SimpleNamespace(), cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False))
        )
        self.nn = SimpleNamespace(functional=SimpleNamespace(
            linear=lambda x, w, b: x @ w.mT + b,
            scaled_dot_product_attention=lambda q, k, v, scale: self.softmax(q @ k.mT * scale, -1) @ v,
        ))  # fmt: skip

    def from_numpy(self, array: Any) -> Tensor:
        return array.view(Tensor)  # type: ignore[no-any-return]

    def empty(self, nbytes: int, dtype: Any, device: str) -> Any:
        return SimpleNamespace(zero_=lambda: self.log.append("flush"))

    def matmul(self, a: Any, b: Any) -> Any:
        self.log.append(" ".join(["product on", self.now.name, *self.how]))
        return a @ b

    def softmax(self, x: Any, axis: int) -> Any:
        powers = np.exp(x - x.max(axis, keepdims=True))
        return powers / powers.sum(axis, keepdims=True)

    def event(self, enable_timing: bool) -> Event:
        return Event(self.log)

    def addmm(self, added: Any, a: Any, b: Any) -> Any:
        return self.matmul(a, b) + added

    def stream(self) -> Stream:
        self.made += 1
        return Stream(f"side {self.made}", self.log)

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.now = self.now, stream
        yield
        self.now = before

    @contextmanager
    def inference_mode(self) -> Iterator[None]:
        self.how.append("inferring")
        yield
        self.how.remove("inferring")

    @contextmanager
    def capture(self, graph: Any) -> Iterator[None]:
        self.log.append("capture")
        self.how.append("captured")
        with self.on(Stream("captured", self.log)):
            yield
        self.how.remove("captured")
        self.log.append("end")
