"""Runs of a schedule, each beside one of another schedule, the anchor, so that what slows both down cancels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.device import Pairs
from gacer_tune.search.trial import Failure, Timing, checked

Anchor = tuple[Schedule, float]  # and the seconds that are usual for it

TELLING = 2  # pairs: a single one, however slow, may have been disturbed
_BETTER = 0.95  # of give_up_s: what the better of them must show


@runtime_checkable
class Pairing(Protocol):
    """A device that keeps the anchor ready to run."""

    def beside(self, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float = math.inf) -> Timing | Failure:
        """Check the outputs, then time as `paired` does."""


class Plain(Protocol):
    """What any device can do."""

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure: ...

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure: ...


def paired(
    anchor: Callable[[], float],
    run: Callable[[], tuple[float, Sequence[float]]],
    pairs: int,
    usual_s: float,
    give_up_s: float = math.inf,
) -> Timing:
    """Time up to `pairs` pairs of runs; `run` returns its seconds and when each tenant was done.

    The two take turns in going first. Ends early where the pairs show that the schedule takes longer than give_up_s.
    """
    found: list[tuple[float, float, Sequence[float]]] = []
    while len(found) < pairs and not hopeless([usual_s * run_s / beside for beside, run_s, _ in found], give_up_s):
        if len(found) % 2:
            later = run()
            found.append((anchor(), *later))
        else:
            found.append((anchor(), *run()))
    return in_step(found, usual_s)


def hopeless(seconds: Sequence[float], give_up_s: float) -> bool:
    """Whether runs, as fast as they would be beside a usual anchor, tell that a schedule takes longer than that."""
    return len(seconds) >= TELLING and min(seconds) > _BETTER * give_up_s


def in_step(runs: Sequence[tuple[float, float, Sequence[float]]], usual_s: float) -> Timing:
    """(the anchor's seconds, the schedule's, when its tenants were done) as if the anchor had always taken usual_s."""
    factors = [usual_s / beside for beside, _, _ in runs]
    timing = Timing.of_runs(
        [seconds * factor for factor, (_, seconds, _) in zip(factors, runs, strict=True)],
        [[done * factor for done in tenants_s] for factor, (_, _, tenants_s) in zip(factors, runs, strict=True)],
    )
    return replace(timing, anchors_s=tuple(beside for beside, _, _ in runs), usual_s=usual_s)


def taking_turns(
    device: Plain, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float = math.inf
) -> Timing | Failure:
    """The same with what any device can do: a run that checks the outputs and tells at which shares of a run the
    tenants are done, then pairs: TELLING where that run took longer than give_up_s."""
    look = checked(device.measure(schedule, 1))
    if isinstance(look, Failure):
        return look
    most = pairs if look.median_s <= give_up_s else min(pairs, TELLING)
    found = checked_pairs(device.compare(anchor[0], schedule, most))
    if isinstance(found, Failure):
        return found
    shares = [done / look.median_s for done in look.tenants_s]
    return in_step([(beside, run, [share * run for share in shares]) for beside, run in found], anchor[1])


def checked_pairs(pairs: Pairs | Failure) -> Pairs | Failure:
    """The pairs themselves; the failure `invalid-time` where a time cannot be."""
    if isinstance(pairs, Failure):
        return pairs
    valid = checked(Timing(tuple(seconds for pair in pairs for seconds in pair), ()))
    return valid if isinstance(valid, Failure) else pairs
