"""What measuring is on every device: outputs are checked, runs are repeated, two schedules take turns."""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from gacer_tune import inputs
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Port, Workload
from gacer_tune.search.beside import Anchor, taking_turns
from gacer_tune.search.trial import Failure, Timing

SEED = 0

Array = NDArray[Any]
Variants = tuple[tuple[int, ...], ...]  # as in a schedule
Spans = Sequence[Sequence[tuple[float, float]]]  # [lane][position] -> begin and end, in seconds


class Planned(Protocol):
    """A plan that is ready to run."""

    @property
    def plan(self) -> Plan: ...


class Runs(Protocol):
    """A session as far as measuring goes."""

    workload: Workload

    def port(self, tenant: int, port: Port) -> Array: ...

    def poison(self) -> None: ...

    def run(self, loaded: Any) -> None: ...


Loaded = TypeVar("Loaded", bound=Planned)


class CheckedBench(ABC, Generic[Loaded]):
    """A session with sample inputs, and the outputs that every schedule must reproduce bit by bit.

    variants: those of the sequential plan, the first of each kernel unless given; the module must have them.
    """

    session: Runs
    warm_ups = 1  # runs of each schedule before two are compared

    def __init__(self, session: Runs, variants: Variants | None = None) -> None:
        self.session, self.workload, self._variants = session, session.workload, variants
        for number, tenant in enumerate(self.workload.tenants):
            for port in tenant.inputs:
                session.port(number, port)[...] = inputs.sample(tenant, SEED)[port.name]
        began = time.perf_counter()
        self.expected = self.digest(self.load(self.lone()))
        self.lone_s = time.perf_counter() - began  # at most: memory was made ready in it, too
        self.right = {name: array.copy() for name, array in self._outputs().items()}  # what `expected` is of

    @abstractmethod
    def lone(self) -> Schedule:
        """The sequential schedule on one lane: its outputs are the right ones."""

    @abstractmethod
    def apart(self) -> Schedule:
        """A schedule whose lanes wait for each other."""

    def known(self, schedule: Schedule) -> Schedule:
        """The schedule with the variants of the sequential plan."""
        return schedule if self._variants is None else replace(schedule, variants=self._variants)

    @abstractmethod
    def load(self, schedule: Schedule) -> Loaded: ...

    def load_timed(self, schedule: Schedule) -> Loaded:
        """Like `load`, for `tenants_s`."""
        return self.load(schedule)

    def load_marked(self, schedule: Schedule) -> Loaded:
        """Like `load`, for `spans`."""
        return self.load(schedule)

    def discard(self, *loaded: Loaded) -> None:
        """Free what is not run any more."""

    @abstractmethod
    def seconds(self, loaded: Loaded) -> float:
        """Run once."""

    @abstractmethod
    def tenants_s(self, loaded: Loaded) -> list[float]:
        """When each tenant was done in the last run, counted from its begin."""

    @abstractmethod
    def spans(self, loaded: Loaded) -> Spans:
        """When each slice began and ended in the last run."""

    def digest(self, loaded: Loaded) -> str:
        """Run once on poisoned memory and return the digest of all outputs."""
        self.session.poison()
        self.session.run(loaded)
        found = hashlib.sha256()
        for array in self._outputs().values():
            found.update(array.tobytes())
        return found.hexdigest()

    def outputs(self) -> dict[str, Array]:
        """Outputs of the sequential plan for the inputs that there are now, by `tenant number/output`."""
        self.digest(self.load(self.lone()))
        return {name: array.copy() for name, array in self._outputs().items()}

    def _outputs(self) -> dict[str, Array]:
        return {
            f"{number}/{port.name}": self.session.port(number, port)
            for number, tenant in enumerate(self.workload.tenants)
            for port in tenant.outputs
        }

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        """Time `repeats` runs after the one that checks the outputs, or until one takes longer than give_up_s."""
        loaded = self.load_right(schedule)
        if isinstance(loaded, Failure):
            return loaded
        seconds: list[float] = []
        tenants = []
        while len(seconds) < repeats and not (seconds and seconds[-1] > give_up_s):
            seconds.append(self.seconds(loaded))
            tenants.append(self.tenants_s(loaded))
        return Timing.of_runs(seconds, tenants)

    def load_right(self, schedule: Schedule) -> Loaded | Failure:
        """Load, and run once for the outputs."""
        loaded = self.load_timed(schedule)
        if self.digest(loaded) != self.expected:
            return Failure("wrong-output", "outputs differ from those of the sequential plan")
        return loaded

    def beside(self, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float = math.inf) -> Timing | Failure:
        """Pairs of the anchor and of a schedule, whose outputs are checked; see gacer_tune.search.beside."""
        return taking_turns(self, anchor, schedule, pairs, give_up_s)

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> tuple[tuple[float, float], ...]:
        """Alternate which of the two goes first, so that neither always follows the other."""
        one, other = self.load(a), self.load(b)
        for loaded in (one, other) * self.warm_ups:
            self.session.run(loaded)
        found = []
        for number in range(pairs):
            if number % 2:
                later = self.seconds(other)
                found.append((self.seconds(one), later))
            else:
                found.append((self.seconds(one), self.seconds(other)))
        self.discard(one, other)
        return tuple(found)

    def launch(self) -> float:
        """Median seconds from the end of a slice to the start of the next on the same lane."""
        _, lanes = self._run_marked(self.lone())
        return _median(later[0] - before[1] for lane in lanes for before, later in pairwise(lane))

    def handover(self) -> float:
        """Median seconds from the end of the last slice waited for to the start of the waiting one."""
        plan, lanes = self._run_marked(self.apart())
        gaps = []
        for slices, spans in zip(plan.lanes, lanes, strict=True):
            previous = 0.0
            for piece, (begin, end) in zip(slices, spans, strict=True):
                last = max((lanes[wait.lane][wait.count - 1][1] for wait in piece.waits), default=0.0)
                if last > previous:
                    gaps.append(begin - last)
                previous = end
        return _median(gaps)

    def _run_marked(self, schedule: Schedule) -> tuple[Plan, Spans]:
        loaded = self.load_marked(schedule)
        self.seconds(loaded)
        spans = self.spans(loaded)
        self.discard(loaded)
        return loaded.plan, spans


def _median(seconds: Sequence[float] | Iterator[float]) -> float:
    """The median where it is above 0: clocks are not fine enough for every gap."""
    found = list(seconds)
    return max(0.0, statistics.median(found)) if found else 0.0
