"""What carrying out a plan asks of a GPU, and how a script is handed to it.

`nvidia.py` is the real one; tests have one that checks the rules of capture, and one that computes on the CPU.
Addresses, streams, events and graphs are numbers that mean something to the driver alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from gacer_tune.executor.cuda.graph import Await, Launch, Mark, Record, Script

Array = NDArray[Any]


class Driver(Protocol):
    """One GPU, and the functions of one module on it. What fails raises UserError where the user can mend it.

    What is made lives as long as the driver, or until it is closed, unless it is dropped before.
    """

    def close(self) -> None:
        """Give back all that was made; nothing else can be asked for then."""

    def allocate(self, nbytes: int) -> int:
        """Address of memory on the device."""

    def staging(self, nbytes: int) -> Array:
        """Bytes on the host that are copied from and to the device without a detour."""

    def upload(self, address: int, data: Array, stream: int) -> None: ...

    def download(self, data: Array, address: int, stream: int) -> None: ...

    def copy(self, to: int, address: int, nbytes: int, stream: int) -> None: ...

    def fill(self, address: int, value: int, nbytes: int, stream: int) -> None: ...

    def stream(self, priority: int = 0, parts: tuple[int, int] | None = None) -> int:
        """0 is the usual priority; what is captured on a stream of a higher one starts first where it can.

        parts: groups [first, behind) of the multiprocessors of which alone it runs; None: it runs on all.
        """

    def event(self, timed: bool = False) -> int: ...

    def launch(self, function: str, pointers: Sequence[int], span: tuple[int, int], stream: int) -> None:
        """Thread blocks [lo, hi) = span of a function."""

    def record(self, event: int, stream: int) -> None: ...

    def mark(self, event: int, stream: int) -> None:
        """Record a timed event as part of the graph, so that each run of it notes the time."""

    def wait(self, stream: int, event: int) -> None: ...

    def follow(self, stream: int) -> None:
        """What the stream is given from here on starts after all that CUDA's default stream has been given."""

    def begin_capture(self, stream: int) -> None: ...

    def end_capture(self, stream: int) -> int:
        """The graph of all that was given to the stream, and to those forked from it, since begin_capture."""

    def abandon(self, stream: int) -> None:
        """End a capture that is not finished; there is no graph of it."""

    def instantiate(self, graph: int) -> int:
        """The graph ready to run, each launch with the priority of the stream that it was captured on."""

    def update(self, instance: int, graph: int) -> bool:
        """Make an instance run another graph; False where their nodes and edges differ: then nothing has changed."""

    def drop(self, graph: int, instance: int) -> None:
        """Free a graph and an instance; 0 for either: none."""

    def run(self, instance: int, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None: ...

    def elapsed_s(self, begin: int, end: int) -> float:
        """Seconds between two timed events that both have been reached."""


def capture(
    driver: Driver,
    script: Script,
    streams: Sequence[int],
    events: Sequence[int],
    marks: Sequence[int],
    launch: Callable[[Launch, int], None],
) -> int:
    """Capture a script into a graph; launch(operation, stream).

    events, marks: at least as many as the script has, the latter timed. Once captured, only the marks are needed.
    """
    stamps = iter(marks)
    driver.begin_capture(streams[0])
    try:
        for operation in script.operations:
            stream = streams[operation.stream]
            match operation:
                case Launch():
                    launch(operation, stream)
                case Record():
                    driver.record(events[operation.event], stream)
                case Await():
                    driver.wait(stream, events[operation.event])
                case Mark():
                    driver.mark(next(stamps), stream)
    except BaseException:  # else the stream stays as it is, and nothing runs on it any more
        driver.abandon(streams[0])
        raise
    return driver.end_capture(streams[0])
