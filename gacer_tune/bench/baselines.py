"""An artifact for a GPU against the schedules that its search began with, timed by the device itself, in turns.

Other runtimes are no part of it: those that `bench` knows run on the CPU.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from gacer_tune.bench import peers
from gacer_tune.bench.compare import differences
from gacer_tune.bench.figures import Comparison, lines
from gacer_tune.bench.others import Usage
from gacer_tune.bench.rounds import Say
from gacer_tune.bench.system import OURS, OURS_SEQUENTIAL, System
from gacer_tune.inputs import sample
from gacer_tune.search.seeds import BASELINES

if TYPE_CHECKING:
    from gacer_tune.runtime import Module

WARM_UPS = 2


def compare(module: Module, rounds: int, seed: int, say: Say) -> Comparison:
    """Compare results, then time everything in turns. Each baseline is a peer of its own."""
    names = {OURS: "best", OURS_SEQUENTIAL: "sequential"}
    names |= {f"ours {name}": name for name in BASELINES if name in module.artifact.schedules and name != "sequential"}
    inputs = {tenant.name: sample(tenant, seed) for tenant in module.workload.tenants}
    say("comparing results")
    errors = differences(
        [System(label, schedule, partial(module.run, inputs, schedule)) for label, schedule in names.items()]
    )
    before = Usage.now()
    seconds = _timed(module, names, rounds, seed, say)
    return Comparison(
        tenants=tuple(module.tenants),
        lines=lines({label: OURS if label == OURS else schedule for label, schedule in names.items()}, seconds),
        errors=errors,
        skipped={},
        versions=peers.versions(()),
        machine={**module.artifact.manifest.get("fingerprint", {}), "lanes": len(module.session.streams)},
        rounds=rounds,
        others=Usage.now().others_since(before),
    )


def _timed(module: Module, names: Mapping[str, str], rounds: int, seed: int, say: Say) -> dict[str, list[float]]:
    """Seconds on the device by round, without copies; each run finds the second-level cache overwritten."""
    session, rng = module.session, random.Random(seed)
    loaded = {label: module.loaded(schedule) for label, schedule in names.items()}
    found: dict[str, list[float]] = {label: [] for label in names}
    for number in range(-WARM_UPS, rounds):
        say(f"round {number + 1} of {rounds}" if number >= 0 else "warming up")
        for label in rng.sample(list(names), len(names)):
            session.flush()
            seconds = session.seconds(loaded[label])
            if number >= 0:
                found[label].append(seconds)
    return found
