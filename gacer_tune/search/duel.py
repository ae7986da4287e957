"""Two schedules in interleaved pairs, in moments in which nothing else keeps the machine busy."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.anchored import CALM, Anchored, Pause, wait
from gacer_tune.search.beside import Anchor, checked_pairs
from gacer_tune.search.device import Pairs
from gacer_tune.search.objective import Objective
from gacer_tune.search.trial import Failure

LOADED = 0.3  # cores that others keep busy: a comparison says nothing of a machine without them
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0, 4.0, 4.0)  # in one comparison, all together
ATTEMPTS, PAUSE_S = 3, 2.0  # while others keep cores busy
BUSY = 1.8  # times as slow as in quiet moments, when waiting did not help: less is how machines drift by themselves
_BLOCK = 5  # pairs without a break; which of the two goes first is drawn for each block


def nobody() -> float:
    """On a machine of which nothing is known, or that is shared with nobody."""
    return 0.0


@dataclass(frozen=True)
class Surroundings:
    """anchor: what trials were held against and what it takes in quiet moments, None where nobody knows; others: how
    many cores other processes have taken from ours since the last call; pause: waits for so many seconds.
    """

    anchor: Anchor | None = None
    others: Callable[[], float] = nobody
    pause: Pause = wait


@dataclass(frozen=True)
class Duel:
    """device: its times are those of quiet moments. baseline_s: makespan of the first schedule in quiet moments."""

    device: Anchored
    objective: Objective
    both: tuple[Schedule, Schedule]
    baseline_s: float
    around: Surroundings

    def fight(self, pairs: int) -> Pairs | Failure:
        """Values of the objective of both schedules, in pairs; the failure `busy` where no moment was quiet."""
        rng, others = random.Random(pairs), 0.0
        for attempt in range(ATTEMPTS):
            if attempt:
                self.around.pause(PAUSE_S)
            self.around.others()
            found = self._makespans(pairs, rng) if self.objective.name == "makespan" else self._values(pairs, rng)
            others = self.around.others()
            if isinstance(found, Failure) or others <= LOADED:
                return found
        return Failure("busy", f"other processes or guests of the host kept {others:.1f} cores busy")

    def _makespans(self, pairs: int, rng: random.Random) -> Pairs | Failure:
        found: list[tuple[float, float]] = []
        pauses = iter(PAUSES_S)
        while len(found) < pairs:
            block = self._block(min(_BLOCK, pairs - len(found)), rng)
            if isinstance(block, Failure):
                return block
            slower = statistics.median(base for base, _ in block) / self.baseline_s
            pause_s = next(pauses, None) if slower > CALM else None
            if pause_s is not None:
                self.around.pause(pause_s)
            elif slower <= BUSY:
                found += block
            else:
                return Failure("busy", f"the baseline took {slower:.1f} times as long as in quiet moments")
        return tuple(found)

    def _block(self, count: int, rng: random.Random) -> Pairs | Failure:
        if rng.random() < 0.5:
            return checked_pairs(self.device.compare(*self.both, count))
        turned = checked_pairs(self.device.compare(*self.both[::-1], count))
        return turned if isinstance(turned, Failure) else tuple((base, best) for best, base in turned)

    def _values(self, pairs: int, rng: random.Random) -> Pairs | Failure:
        """The device itself compares makespans only: single runs, each beside the anchor."""
        found = []
        for _ in range(pairs):
            values = {}
            for number in rng.sample((0, 1), 2):
                result = self.device.measure(self.both[number], 1)
                if isinstance(result, Failure):
                    return result
                values[number] = self.objective.of(result)
            found.append((values[0], values[1]))
        return tuple(found)
