"""Times systems in turns, so that whatever the machine does meanwhile happens to all of them alike.

Worker threads go on spinning after a run, to be quick for the next one: those of TVM's pool, which our lanes are, for
0.2 s, those of ONNX Runtime for 50 ms, those of OpenVINO for 2 ms. On the same cores they would take time from
whichever system comes next: ours from the peers most of all. So a turn begins when this process uses no more CPU time
(`settle`). Then its own threads must be awake and its weights in the caches as they are in steady work: it runs
untimed for WAKE_S first, and only the run after that, with its own workers spinning, is timed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gacer_tune.bench.system import System

SETTLE_S = 1.0  # longest wait for spinning threads
WAKE_S = 0.002
WARM_S = 2.0  # longest warm-up of one system
STEADY = 0.05
_WINDOW_S = 0.003
_IDLE_SHARE = 0.1  # of one core
_CALM_WINDOWS = 2

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Nobody listens."""


def settle() -> None:
    """Wait until the threads of this process rest."""
    end, calm = time.perf_counter() + SETTLE_S, 0
    while calm < _CALM_WINDOWS and time.perf_counter() < end:
        used, began = time.process_time(), time.perf_counter()
        time.sleep(_WINDOW_S)
        share = (time.process_time() - used) / (time.perf_counter() - began)
        calm = calm + 1 if share < _IDLE_SHARE else 0


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from; tests have their own."""

    now: Callable[[], float] = time.perf_counter
    settle: Callable[[], None] = settle


@dataclass(frozen=True, slots=True)
class Rounds:
    """count: how often each system has a turn; few: systems that have fewer, in the first rounds."""

    count: int
    seed: int = 0
    few: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        return min(self.count, self.few.get(name, self.count))


def warm_up(system: System, clock: Clock) -> float:
    """Run until three runs in a row differ by less than STEADY, or for WARM_S; return the seconds of the last run."""
    clock.settle()
    began, seconds = clock.now(), [_timed(system, clock)]
    while clock.now() - began < WARM_S and not _steady(seconds[-3:]):
        seconds.append(_timed(system, clock))
    return seconds[-1]


def interleave(
    systems: Sequence[System], rounds: Rounds, clock: Clock, say: Say = silent
) -> dict[str, tuple[float, ...]]:
    """Seconds of each system by round, the order of turns drawn anew in each round.

    A system that has few turns is so slow that waking it would double what it takes: its turn is one run.
    """
    rng = random.Random(rounds.seed)
    seconds: dict[str, list[float]] = {system.name: [] for system in systems}
    for number in range(rounds.count):
        say(f"round {number + 1} of {rounds.count}")
        present = [system for system in systems if number < rounds.of(system.name)]
        rng.shuffle(present)
        for system in present:
            clock.settle()
            if system.name not in rounds.few:
                _wake(system, clock)
            seconds[system.name].append(_timed(system, clock))
    return {name: tuple(row) for name, row in seconds.items()}


def _wake(system: System, clock: Clock) -> None:
    end = clock.now() + WAKE_S
    system.run()
    while clock.now() < end:
        system.run()


def _timed(system: System, clock: Clock) -> float:
    began = clock.now()
    system.run()
    return clock.now() - began


def _steady(seconds: Sequence[float]) -> bool:
    return len(seconds) == 3 and max(seconds) <= (1 + STEADY) * min(seconds)
