"""The Pareto front of the tenants' completion times: what one tenant can gain only at another's cost."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.search.trial import Timing, Trial

MOST = 4


def front(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Trials that no other beats, by median completion of every tenant; the earlier of equals; in order of tenant 0."""
    measured = [(trial.result.tenants_s, trial) for trial in trials if isinstance(trial.result, Timing)]
    kept: list[tuple[tuple[float, ...], Trial]] = []
    for times, trial in sorted(measured, key=lambda pair: pair[0]):
        # In lexical order nothing that follows can beat what is kept, so one look back is enough.
        if not any(all(a <= b for a, b in zip(other, times, strict=True)) for other, _ in kept):
            kept.append((times, trial))
    return tuple(trial for _, trial in kept)


def chosen(points: Sequence[Trial], most: int = MOST) -> tuple[Trial, ...]:
    """At most so many points of a front that differ much: the best of each tenant, then those between.

    Each next one is the farthest from all taken, by the largest ratio of one tenant's times.
    """
    timed = [(trial.result.tenants_s, trial) for trial in points if isinstance(trial.result, Timing)]
    if not timed or most < 1:
        return ()
    columns = zip(*(times for times, _ in timed), strict=True)
    taken = list(dict.fromkeys(column.index(min(column)) for column in columns))[:most]
    while len(taken) < min(most, len(timed)):
        rest = [i for i in range(len(timed)) if i not in taken]
        taken.append(max(rest, key=lambda i: min(_apart(timed[i][0], timed[j][0]) for j in taken)))
    return tuple(timed[i][1] for i in sorted(taken))


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    """1 for equal times, 2 where a tenant takes twice as long in one of them."""
    return max((max(a, b) / min(a, b) for a, b in zip(one, other, strict=True) if min(a, b) > 0), default=1.0)
