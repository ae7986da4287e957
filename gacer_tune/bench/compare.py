"""Compares an artifact with other runtimes on the machine at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gacer_tune.bench import peers
from gacer_tune.bench.figures import Comparison, Errors, lines
from gacer_tune.bench.originals import static_model
from gacer_tune.bench.others import Usage
from gacer_tune.bench.rounds import Clock, Rounds, Say, interleave, warm_up
from gacer_tune.bench.system import OURS, OURS_SEQUENTIAL, Results, System, Task, copied
from gacer_tune.checking import allowed, relative_error
from gacer_tune.inputs import sample
from gacer_tune.store.fingerprint import host_fingerprint

if TYPE_CHECKING:
    from gacer_tune.runtime import Module

SLOW = 10.0  # a system this many times slower than ours, and slower than SLOW_S, has FEW rounds
SLOW_S = 0.5
FEW = 3


@dataclass(frozen=True, slots=True)
class Options:
    """names: of the peers; paths: the original models by tenant; seed: of inputs and of the order of turns."""

    names: tuple[str, ...]
    paths: Mapping[str, Path]
    rounds: int
    seed: int = 0


def compare(module: Module, options: Options, say: Say) -> Comparison:
    """Compare results, then time everything in turns.

    All systems have the CPUs of the artifact's lanes and no others. Raises UserError for models that do not belong to
    the artifact, and where no peer can run them.
    """
    task = task_of(module, options.paths, options.seed)
    with ExitStack() as stack:
        stack.enter_context(on_cpus(task.cpus))
        found, skipped = peers.opened(options.names, task, stack, say)
        systems = [*ours(module, task), *found]
        before = Usage.now()
        errors, seconds = measure(systems, options.rounds, options.seed, Clock(), say)
        others = Usage.now().others_since(before)
    fingerprint = host_fingerprint()
    return Comparison(
        tenants=tuple(module.tenants),
        lines=lines({system.name: system.peer for system in systems}, seconds),
        errors=errors,
        skipped=skipped,
        versions=peers.versions(options.names),
        machine={
            "cpu": fingerprint.cpu,
            "isa": module.artifact.manifest["isa"],
            "lanes": len(task.cpus),
            "cores": os.cpu_count(),
        },
        rounds=options.rounds,
        others=others,
        precision=task.precision,
        allowed={tenant.name: allowed(tenant, task.precision) for tenant in module.workload.tenants},
    )


def task_of(module: Module, paths: Mapping[str, Path], seed: int) -> Task:
    """The artifact's models with sample inputs, in the order in which the models declare them."""
    models, inputs = {}, {}
    for tenant in module.workload.tenants:
        models[tenant.name], names = static_model(paths[tenant.name], tenant)
        values = sample(tenant, seed)
        inputs[tenant.name] = {name: values[name] for name in names}
    outputs = {tenant.name: tuple(port.name for port in tenant.outputs) for tenant in module.workload.tenants}
    return Task(models, inputs, outputs, module.session.cpus, module.artifact.precision)


def ours(module: Module, task: Task) -> list[System]:
    """As users call it: inputs are copied in and outputs are copied out."""
    schedules = {OURS: "best", OURS_SEQUENTIAL: "sequential"}
    return [System(name, OURS, partial(module.run, task.inputs, schedule)) for name, schedule in schedules.items()]


def measure(
    systems: Sequence[System], count: int, seed: int, clock: Clock, say: Say
) -> tuple[Errors, dict[str, tuple[float, ...]]]:
    """Errors of all systems against OURS, and the seconds of their rounds; OURS must be among them."""
    say("comparing results")
    errors = differences(systems)
    warm = {}
    for system in systems:
        say(f"warming up {system.name}")
        warm[system.name] = warm_up(system, clock)
    limit_s = max(SLOW_S, SLOW * warm[OURS])
    few = {name: FEW for name, seconds in warm.items() if seconds > limit_s}
    return errors, interleave(systems, Rounds(count, seed, few), clock, say)


def differences(systems: Sequence[System]) -> dict[str, dict[str, float]]:
    """Of each system but OURS the error of OURS relative to its outputs, by `TENANT/OUTPUT`."""
    results: dict[str, Results] = {system.name: copied(system.run()) for system in systems}
    own = results.pop(OURS)
    return {
        name: {
            f"{tenant}/{output}": relative_error(array, result[tenant][output])
            for tenant, row in own.items()
            for output, array in row.items()
        }
        for name, result in results.items()
    }


@contextmanager
def on_cpus(cpus: Sequence[int]) -> Iterator[None]:
    """Keep the calling thread, and the threads that are made inside, on these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
