"""What is decided of lanes that are streams of a GPU: which go first, and which share of the GPU each has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from gacer_tune.ir.schedule import PARTS, PRIORITIES, Schedule
from gacer_tune.ir.workload import Workload


def ranks(levels: Sequence[int]) -> tuple[int, ...]:
    """Priorities as ranks, without those of the last lanes where they are 0."""
    known = sorted(set(levels))
    last = max((lane for lane, level in enumerate(levels) if level > known[0]), default=-1)
    return tuple(known.index(level) for level in levels[: last + 1])


def even_shares(schedule: Schedule) -> Schedule:
    """The schedule with as large a part of the GPU for each lane that a tenant uses as for every other one.

    Of more lanes than there are parts, the first ones have one each.
    """
    used = sorted(_used(schedule))[:PARTS]
    own = PARTS // len(used)
    return replace(schedule, shares=tuple(own if lane in used else 0 for lane in range(used[-1] + 1)))


def random_shares(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    """The schedule with shares that were even, until some lanes got others."""
    schedule = even_shares(schedule)
    for _ in range(rng.randint(0, schedule.lanes)):
        schedule = share(workload, schedule, rng)
    return replace(schedule, shares=normal_shares(schedule))


def _used(schedule: Schedule) -> frozenset[int]:
    """Lanes that some tenant may use."""
    return frozenset(lane for cluster in schedule.clusters for own in cluster.lanes for lane in own)


def normal_shares(schedule: Schedule) -> tuple[int, ...]:
    """0 for lanes that no tenant uses, without the last ones that are 0."""
    used = _used(schedule)
    shares = [own if lane in used else 0 for lane, own in enumerate(schedule.shares)]
    while shares and not shares[-1]:
        shares.pop()
    return tuple(shares)


def priority(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    """A lane goes before others, or behind them."""
    del workload
    levels = list(schedule.lane_priorities)
    levels[rng.randrange(schedule.lanes)] = rng.randrange(PRIORITIES)
    return replace(schedule, priorities=tuple(levels))


def share(workload: Workload, schedule: Schedule, rng: random.Random) -> Schedule:
    """A lane gets another share of the GPU, as far as the others leave any; 0: it may use all of it.

    Sometimes one of the others that have a share takes what is left.
    """
    del workload
    shares, lane = list(schedule.lane_shares), rng.randrange(schedule.lanes)
    shares[lane] = rng.randint(0, PARTS - sum(shares) + shares[lane])
    others = [other for other, own in enumerate(shares) if own and other != lane]
    if others and rng.random() < 0.5:
        shares[rng.choice(others)] += PARTS - sum(shares)
    return replace(schedule, shares=tuple(shares))
