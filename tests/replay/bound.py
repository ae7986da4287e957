"""How much faster than our own sequential plan any plan could be, on this machine: the table of docs/search.md.

python -m tests.replay.bound [MIX...] [--seconds N] [--prepare]

The bound of a mix is the work that it holds, shared evenly by the lanes: all kernels on one lane, each with the variant
that is fastest there, so that nothing waits and no core disturbs another; divided by the number of lanes. That plan and
the best one that a search finds are both timed in interleaved pairs with the sequential one, for the machine drifts.

Side by side, for two lanes: as long as there are two tenants, each has a lane for itself, as fast as alone; what is
then left of the longest one has both lanes, as in the sequential plan.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import onnx

from gacer_tune.cost_model.profile import Profile
from gacer_tune.devices.child import ChildDevice
from gacer_tune.events import Event
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.preparing import prepare
from gacer_tune.search.acceptance import finalists
from gacer_tune.search.device import Device
from gacer_tune.search.objective import Objective
from gacer_tune.search.seeds import baselines
from gacer_tune.search.trial import Failure
from gacer_tune.search.tune import TuneOptions, tune
from gacer_tune.settings import Settings
from gacer_tune.tenant_settings import TenantSettings
from models import MODELS
from tests.bench.sets import TOGETHER

SECONDS = 8.0
PAIRS = 30
RUNS = 15
MOST_TRIALS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mixes", nargs="*", metavar="MIX", help="models with + between them; those of the benchmark")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of search")
    parser.add_argument("--cache", type=Path)
    parser.add_argument(
        "--prepare", action="store_true", help="compile and profile, so that measuring can start at once"
    )
    given = parser.parse_args()
    print("| mix | sequential | / joint | / side by side | / bound |")
    print("| --- |" + " ---: |" * 4)
    for mix in given.mixes or TOGETHER:
        with ExitStack() as stack:
            prepared = prepare(_settings(mix, stack, given.cache), stack, _silent)
            if not given.prepare:
                device = stack.enter_context(ChildDevice(prepared.folder, prepared.cpus))
                print(row(mix, prepared.workload, prepared.profile, device, given.seconds), flush=True)


def row(mix: str, workload: Workload, profile: Profile, device: Device, seconds: float) -> str:
    sequential = baselines(workload, profile, device.lanes)["sequential"]
    trials = list(tune(workload, device, profile, TuneOptions(seconds, MOST_TRIALS, anchored=True, steal=True)))
    found = finalists(trials, Objective(workload))
    _, gain = paired(device, sequential, found[0].schedule if found else sequential)
    one = baselines(workload, profile, 1)["sequential"]
    sequential_s, alone = paired(device, sequential, one)
    beside = "not two lanes"
    if device.lanes == 2:
        together, lone = tenants_s(device, sequential, sequential_s), tenants_s(device, one, sequential_s / alone)
        beside = f"{sequential_s / side_by_side_s(together, lone):.3f}"
    return f"| {mix} | {sequential_s * 1e3:.2f} ms | {gain:.3f} | {beside} | {alone * device.lanes:.3f} |"


def side_by_side_s(together: Sequence[float], lone: Sequence[float]) -> float:
    """Seconds of two lanes with tenants that take `together` on both of them and `lone` on one."""
    longest = max(range(len(lone)), key=lone.__getitem__)
    others = sum(lone) - lone[longest]
    left = max(0.0, 1 - others / lone[longest])  # of the longest one, when the others are done
    return (sum(lone) - left * lone[longest]) / 2 + left * together[longest]


def tenants_s(device: Device, schedule: Schedule, seconds: float) -> list[float]:
    """Seconds of each tenant in a plan that runs one after the other, and takes so many seconds."""
    timing = device.measure(schedule, RUNS)
    assert not isinstance(timing, Failure), timing
    ends = [0.0, *timing.tenants_s]
    return [seconds * (end - begin) / ends[-1] for begin, end in pairwise(ends)]


def paired(device: Device, one: Schedule, other: Schedule) -> tuple[float, float]:
    """Median seconds of one, and how many times as long it takes as the other."""
    pairs = device.compare(one, other, PAIRS)
    assert not isinstance(pairs, Failure), pairs
    return statistics.median(a for a, _ in pairs), statistics.median(a / b for a, b in pairs)


def _settings(mix: str, stack: ExitStack, cache: Path | None) -> Settings:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    tenants = []
    for model in mix.split("+"):
        onnx.save(MODELS[model](), str(folder / f"{model}.onnx"))
        tenants.append(TenantSettings(path=folder / f"{model}.onnx", name=model))
    return Settings(tenants=tuple(tenants), cache=cache)


def _silent(event: Event) -> None:
    """Nothing but the table is of interest."""


if __name__ == "__main__":
    main()
