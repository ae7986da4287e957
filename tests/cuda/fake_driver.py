"""A GPU driver that keeps the rules of stream capture, and carries out what was captured on the CPU.

A run takes the kernels of a graph in a random order that its edges allow, so a missing edge shows as a wrong result.
"""

# ruff: noqa: ARG002 - a driver is told more than this one needs

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Compute = Callable[[str, Sequence[Array], tuple[int, int]], None]
ALIGNMENT = 256


class CaptureError(AssertionError):
    """What CUDA would refuse."""


@dataclass
class Node:
    """A launch or a mark, the nodes that must be done before; priority and parts of the stream it was captured on."""

    what: tuple[Any, ...]
    after: frozenset[int]
    priority: int = 0
    parts: tuple[int, int] | None = None


@dataclass
class Graph:
    nodes: list[Node] = field(default_factory=list)

    def ancestors(self) -> list[frozenset[int]]:
        found: list[frozenset[int]] = []
        for node in self.nodes:
            found.append(node.after.union(*(found[parent] for parent in node.after)))
        return found

    @property
    def topology(self) -> list[tuple[str, frozenset[int], int]]:
        """What an update must leave as it is; priorities because of how graphs are instantiated here."""
        return [(node.what[0], node.after, node.priority) for node in self.nodes]


@dataclass
class FakeDriver:
    """compute(function, operands from their addresses to the end of their memory, span) does what a kernel does.

    loads: code is loaded at the first launch of a function, as on a GPU, which must not be in a capture.
    """

    compute: Compute
    seed: int = 0
    refuse_updates: bool = False
    loads: bool = True
    memory: Array = field(default_factory=lambda: np.zeros(0, np.uint8))
    log: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.count = 0
        self.loaded: set[str] = set()
        self.capturing: Graph | None = None
        self.tails: dict[int, frozenset[int]] = {}  # of the streams that take part in the capture
        self.origin = 0
        self.recorded: dict[int, frozenset[int]] = {}
        self.joined: dict[int, frozenset[int]] = {}  # of a captured stream, or of an event: streams it comes behind
        self.priorities: dict[int, int] = {}  # of streams
        self.parts: dict[int, tuple[int, int] | None] = {}
        self.timed: set[int] = set()
        self.graphs: dict[int, Graph] = {}
        self.instances: dict[int, Graph] = {}
        self.clock = 0
        self.reached: dict[int, int] = {}

    def close(self) -> None:
        self.outside("close")
        self.memory = np.zeros(0, np.uint8)

    def number(self) -> int:
        self.count += 1
        return self.count

    def outside(self, what: str) -> None:
        if self.capturing is not None:
            raise CaptureError(f"{what} while a stream is captured")

    def allocate(self, nbytes: int) -> int:
        self.outside("allocate")
        start = -(-len(self.memory) // ALIGNMENT) * ALIGNMENT
        grown = np.full(start + nbytes, 0xFF, np.uint8)
        grown[: len(self.memory)] = self.memory
        self.memory = grown
        return ALIGNMENT + start

    def staging(self, nbytes: int) -> Array:
        return np.zeros(nbytes, np.uint8)

    def place(self, address: int, nbytes: int) -> Array:
        start = address - ALIGNMENT
        assert start >= 0 and start + nbytes <= len(self.memory), "outside of the memory"
        return self.memory[start : start + nbytes]

    def upload(self, address: int, data: Array, stream: int) -> None:
        self.outside("upload")
        self.place(address, data.nbytes)[...] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)

    def download(self, data: Array, address: int, stream: int) -> None:
        self.outside("download")
        data.reshape(-1).view(np.uint8)[...] = self.place(address, data.nbytes)

    def copy(self, to: int, address: int, nbytes: int, stream: int) -> None:
        self.outside("copy")
        self.log.append(("copy", stream))
        self.place(to, nbytes)[...] = self.place(address, nbytes)

    def fill(self, address: int, value: int, nbytes: int, stream: int) -> None:
        self.outside("fill")
        self.place(address, nbytes)[...] = value

    def stream(self, priority: int = 0, parts: tuple[int, int] | None = None) -> int:
        self.outside("stream")
        made = self.number()
        self.priorities[made], self.parts[made] = priority, parts
        return made

    def event(self, timed: bool = False) -> int:
        made = self.number()
        if timed:
            self.timed.add(made)
        return made

    def add(self, what: tuple[Any, ...], stream: int) -> None:
        assert self.capturing is not None
        if stream not in self.tails:
            raise CaptureError("a launch on a stream that takes no part in the capture")
        self.capturing.nodes.append(Node(what, self.tails[stream], self.priorities[stream], self.parts[stream]))
        self.tails[stream] = frozenset({len(self.capturing.nodes) - 1})

    def launch(self, function: str, pointers: Sequence[int], span: tuple[int, int], stream: int) -> None:
        assert span[0] < span[1], "a launch without blocks"
        if self.capturing is None:
            self.loaded.add(function)
            self.kernel(function, pointers, span)
            return
        if self.loads and function not in self.loaded:
            raise CaptureError("code is loaded while a stream is captured")
        self.add(("launch", function, tuple(pointers), span), stream)

    def kernel(self, function: str, pointers: Sequence[int], span: tuple[int, int]) -> None:
        """What a launch computes, now."""
        self.compute(function, [self.place(p, len(self.memory) - p + ALIGNMENT) for p in pointers], span)

    def record(self, event: int, stream: int) -> None:
        self.log.append(("record", event, stream))
        if self.capturing is None:
            self.reach(event)
        elif stream in self.tails:
            self.recorded[event] = self.tails[stream]
            self.joined[event] = self.joined.get(stream, frozenset()) | {stream}
        else:
            raise CaptureError("an event recorded on a stream that takes no part in the capture")

    def mark(self, event: int, stream: int) -> None:
        assert event in self.timed
        self.add(("mark", event), stream)

    def wait(self, stream: int, event: int) -> None:
        self.log.append(("wait", event, stream))
        if self.capturing is None or event not in self.recorded:
            raise CaptureError("a wait for an event that this capture has not recorded")
        self.tails[stream] = self.tails.get(stream, frozenset()) | self.recorded[event]
        self.joined[stream] = self.joined.get(stream, frozenset()) | self.joined[event]

    def follow(self, stream: int) -> None:
        self.outside("follow")
        self.log.append(("follow", stream))

    def begin_capture(self, stream: int) -> None:
        self.outside("begin_capture")
        self.capturing, self.origin, self.tails, self.recorded = Graph(), stream, {stream: frozenset()}, {}
        self.joined = {stream: frozenset({stream})}

    def abandon(self, stream: int) -> None:
        assert stream == self.origin
        self.capturing = None

    def end_capture(self, stream: int) -> int:
        graph, self.capturing = self.capturing, None
        if graph is None or stream != self.origin:
            raise CaptureError("a capture ends on the stream on which it began")
        joined = self.tails[stream].union(*(graph.ancestors()[node] for node in self.tails[stream]))
        if any(not tail <= joined for tail in self.tails.values()) or not set(self.tails) <= self.joined[stream]:
            raise CaptureError("work that is not joined to the stream that is captured")
        number = self.number()
        self.graphs[number] = graph
        return number

    def instantiate(self, graph: int) -> int:
        number = self.number()
        self.instances[number] = self.graphs[graph]
        return number

    def update(self, instance: int, graph: int) -> bool:
        """Parts of the GPU stay as they were: the worst of what CUDA's documents allow."""
        before, now = self.instances[instance], self.graphs[graph]
        if self.refuse_updates or before.topology != now.topology:
            return False
        pairs = zip(before.nodes, now.nodes, strict=True)
        self.instances[instance] = Graph([replace(node, parts=old.parts) for old, node in pairs])
        return True

    def drop(self, graph: int, instance: int) -> None:
        self.graphs.pop(graph, None)
        self.instances.pop(instance, None)

    def run(self, instance: int, stream: int) -> None:
        self.outside("run")
        self.carry_out(self.instances[instance])

    def carry_out(self, graph: Graph) -> None:
        """The nodes of a graph in a random order that its edges allow."""
        nodes, done = graph.nodes, set[int]()
        while len(done) < len(nodes):
            ready = [i for i, node in enumerate(nodes) if i not in done and node.after <= done]
            chosen = self.rng.choice(ready)
            kind, *rest = nodes[chosen].what
            if kind == "mark":
                self.reach(rest[0])
            else:
                self.kernel(*rest)
            done.add(chosen)

    def reach(self, event: int) -> None:
        self.clock += 1
        self.reached[event] = self.clock

    def synchronize(self, stream: int) -> None:
        self.outside("synchronize")

    def elapsed_s(self, begin: int, end: int) -> float:
        assert {begin, end} <= self.timed
        return float(self.reached[end] - self.reached[begin])
