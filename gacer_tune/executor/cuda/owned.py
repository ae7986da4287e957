"""What a process has made on a GPU, each with the call that gives it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

GiveBack = Callable[[Any], Sequence[Any]]


class Owned:
    """Handles by number, and what else was made. `free` may be called by the collector, in any thread at any moment.

    cuda: the bindings of the runtime. Handles stay here as the objects of the bindings, so that none that is still in
    use is freed; 0 is no handle.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._made: dict[int, tuple[Any, GiveBack]] = {}
        self._count = 0

    def keep(self, handle: Any, give_back: GiveBack) -> int:
        """The number of a handle."""
        self._count += 1
        self._made[self._count] = (handle, give_back)
        return self._count

    def __getitem__(self, number: int) -> Any:
        return self._made[number][0]

    def drop(self, number: int) -> Sequence[Any]:
        """Give one back now; what CUDA answers."""
        handle, give_back = self._made.pop(number)
        return give_back(handle)

    def free(self) -> None:
        """Give back everything, the latest first, once what runs has ended.

        What CUDA answers is passed over: a context that an illegal access has broken takes nothing back, and ends with
        its process. Another thread or library may be capturing: this must not spoil it.
        """
        relaxed = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        _, before = self._cuda.cudaThreadExchangeStreamCaptureMode(relaxed)
        for handle, give_back in self._made.values():
            if give_back == self._cuda.cudaStreamDestroy:
                self._cuda.cudaStreamSynchronize(handle)
        while self._made:
            _, (handle, give_back) = self._made.popitem()
            give_back(handle)
        self._cuda.cudaThreadExchangeStreamCaptureMode(before)
        self._cuda.cudaGetLastError()  # else it would come up at a launch of others
