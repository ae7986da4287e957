"""Measures every schedule of some small spaces and keeps the results as test data.

python -m tests.replay.record prepare [NAME...]   compile and profile, so that measuring can start at once
python -m tests.replay.record measure [NAME...]   needs a machine on which nothing else runs; about a minute a space
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx

from gacer_tune.cost_model.profile import Profile
from gacer_tune.devices.child import ChildDevice
from gacer_tune.events import Event
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Op, Tenant, Workload
from gacer_tune.learning.recording import Recording, write_recording
from gacer_tune.preparing import prepare
from gacer_tune.search.exhaustive import Exhaustive
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.settings import Settings
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.tenant_settings import TenantSettings
from tests.replay.spaces import SPACES, path_of, space_of

PASSES, RUNS = 9, 5  # each schedule at nine times far apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "measure"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SPACES)}; all unless given")
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    for name in given.names or SPACES:
        with ExitStack() as stack:
            prepared = prepare(settings(name, stack, given.cache), stack, partial(tell, name))
            workload, profile = trimmed(prepared.workload, prepared.profile, SPACES[name].most)
            everything = Exhaustive(space_of(name, workload, profile, len(prepared.cpus)))
            tenants = ", ".join(f"{t.name}: {len(t.ops)} ops, {len(t.kernels)} kernels" for t in workload.tenants)
            print(f"{name}: {tenants}; {len(everything)} schedules", flush=True)
            if given.what == "measure":
                device = stack.enter_context(ChildDevice(prepared.folder, prepared.cpus))
                trials = tuple(complete(everything, device))
                machine = f"{host_fingerprint().cpu}, {host_fingerprint().isa}, {len(prepared.cpus)} lanes"
                write_recording(path_of(name), Recording(name, workload, profile, trials, machine))
                print(f"{path_of(name)}: {len(trials)} schedules", flush=True)


def settings(name: str, stack: ExitStack, cache: Path | None) -> Settings:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    tenants = []
    for tenant, builder in SPACES[name].tenants.items():
        path = folder / f"{tenant}.onnx"
        onnx.save(builder(), str(path))
        tenants.append(TenantSettings(path=path))
    return Settings(tenants=tuple(tenants), cache=cache)


def tell(name: str, event: Event) -> None:
    if event.done % 50 == 0:
        print(f"{name}: {event.stage} {event.message} {event.done}/{event.total}", flush=True)


def trimmed(workload: Workload, profile: Profile, most: int) -> tuple[Workload, Profile]:
    """At most so many variants of each kernel, the first ones."""
    tenants = tuple(replace(tenant, ops=_trimmed_ops(tenant, most)) for tenant in workload.tenants)
    alone, shared = (
        tuple(tuple(row[:most] for row in kernels) for kernels in rows) for rows in (profile.alone, profile.shared)
    )
    return Workload(tenants, workload.target), replace(profile, alone=alone, shared=shared)


def _trimmed_ops(tenant: Tenant, most: int) -> tuple[Op, ...]:
    return tuple(
        replace(op, kernels=tuple(replace(kernel, variants=kernel.variants[:most]) for kernel in op.kernels))
        for op in tenant.ops
    )


def complete(everything: Exhaustive, device: ChildDevice) -> Iterator[Trial]:
    """Every schedule, in PASSES passes of different order, so that what drifts does not favour neighbours."""
    schedules = everything.propose([], len(everything))
    medians: dict[Schedule, list[Timing]] = {schedule: [] for schedule in schedules}
    for number in range(PASSES):
        for schedule in random.Random(number).sample(schedules, len(schedules)):
            result = device.measure(schedule, RUNS)
            assert isinstance(result, Timing), result
            medians[schedule].append(result)
    for number, (schedule, found) in enumerate(medians.items()):
        seconds = tuple(timing.median_s for timing in found)
        tenants_s = tuple(statistics.median(column) for column in zip(*(t.tenants_s for t in found), strict=True))
        yield Trial(schedule, Timing(seconds, tenants_s), "recorded", number)


if __name__ == "__main__":
    main()
