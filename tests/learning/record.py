"""Measures plans of mixes of models/ and keeps them as data: `python -m tests.learning.record [MIX ...]`.

Each mix is searched at random for SECONDS and by evolution for as long, each plan beside the sequential one, as in
gacer_tune.search.anchored; all of them but the baselines steal, as in `gacer-tune tune`. In the end the fastest plans
are timed once more, longer: of many measurements the shortest is mostly a lucky one. No model belongs to two mixes, so
a mix that is held out is made of models that nothing was learned from.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import onnx

import models
from gacer_tune.devices.child import ChildDevice
from gacer_tune.events import Event
from gacer_tune.learning.recording import SUFFIX, Recording, read_recording, write_recording
from gacer_tune.preparing import Prepared, prepare
from gacer_tune.search.afresh import afresh
from gacer_tune.search.anchored import MOST_PAIRS, Anchored
from gacer_tune.search.beside import Anchor
from gacer_tune.search.device import Device
from gacer_tune.search.seeds import baselines
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from gacer_tune.settings import Settings
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.tenant_settings import TenantSettings

DATA = Path(__file__).parent / "stealing"
MIXES = {
    "resnet18+bert_small": ("resnet18", "bert_small"),
    "mobilenet_v2+squeezenet": ("mobilenet_v2", "squeezenet"),
    "shufflenet+lstm+dlrm": ("shufflenet", "lstm", "dlrm"),
    "vit_tiny+mobilenet_v3": ("vit_tiny", "mobilenet_v3"),
    "tiny_yolo+efficientnet_b0": ("tiny_yolo", "efficientnet_b0"),
    "alexnet+googlenet": ("alexnet", "googlenet"),
}
SECONDS = 75.0
FASTEST, PASSES = 40, 10  # the fastest plans are timed so many times more, in turn
CHANGED = 0.1  # the lucky first times of the fastest are 2 to 5 % below those


def record(name: str, prepared: Prepared, seconds: float) -> Recording:
    with ChildDevice(prepared.folder, prepared.cpus) as child:
        anchor = replace(baselines(prepared.workload, prepared.profile, child.lanes)["sequential"], steal=True)
        usual = child.measure(anchor, 40)
        assert isinstance(usual, Timing), usual
        beside = anchor, usual.median_s
        trials = timed_longer(Anchored(child, beside), list(_trials(prepared, child, beside, seconds)))
    host = host_fingerprint()
    machine = f"{host.cpu}, {host.isa}, {len(prepared.cpus)} lanes"
    return Recording(name, prepared.workload, prepared.profile, tuple(trials), machine)


def timed_longer(device: Device, trials: list[Trial]) -> list[Trial]:
    """The trials, the fastest with longer measurements: in turn, so that drifts of the machine meet them all.

    As they are where the machine has changed meanwhile: then some would be of one state of it, the others of another.
    """
    order = sorted((trial for trial in trials if isinstance(trial.result, Timing)), key=_median_s)[:FASTEST]
    results = afresh(device, [trial.schedule for trial in order], PASSES, MOST_PAIRS)
    fresh = [replace(trial, result=result) for trial, result in zip(order, results, strict=True)]
    step = statistics.median(_median_s(new) / _median_s(old) for new, old in zip(fresh, order, strict=True))
    if abs(step - 1) > CHANGED:
        sys.stderr.write(f"the fastest take {step:.2f} times as long as before: their first measurements are kept\n")
        return trials
    anew = {trial.number: trial.result for trial in fresh}
    return [replace(trial, result=anew.get(trial.number, trial.result)) for trial in trials]


def _median_s(trial: Trial) -> float:
    return trial.result.median_s if isinstance(trial.result, Timing) else math.inf


def again(recording: Recording, prepared: Prepared) -> Recording:
    """A recording that exists, its fastest plans measured anew; on the machine that it was made on."""
    assert prepared.workload.key == recording.workload.key, "other kernels than those of the recording"
    with ChildDevice(prepared.folder, prepared.cpus) as child:
        steal = any(trial.schedule.steal for trial in recording.trials)
        plan = baselines(recording.workload, recording.profile, child.lanes)["sequential"]
        anchor = replace(plan, steal=steal)
        usual_s = next(_median_s(trial) for trial in recording.trials if trial.schedule == anchor)
        trials = timed_longer(Anchored(child, (anchor, usual_s)), list(recording.trials))
    return replace(recording, trials=tuple(trials))


def _trials(prepared: Prepared, child: ChildDevice, anchor: Anchor, seconds: float) -> Iterator[Trial]:
    number, began = 0, time.monotonic()
    for strategy in ("random", "evolve"):
        device = Anchored(child, anchor)  # a new one: what led in another search is none of this one's plans
        options = TuneOptions(budget_s=seconds, strategy=strategy, steal=True)
        for trial in tune(prepared.workload, device, prepared.profile, options):
            yield replace(trial, number=number, at_s=time.monotonic() - began)
            number += 1


def _tell(event: Event) -> None:
    if event.stage == "compile" and event.done % 20:
        return
    sys.stderr.write(f"{event.stage} {event.message} {event.done}/{event.total}\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.learning.record", description=__doc__)
    parser.add_argument("mixes", nargs="*", metavar="MIX", help=f"of {', '.join(MIXES)}; all of them unless given")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each of the two searches")
    parser.add_argument("--out", type=Path, default=DATA)
    parser.add_argument("--cache", type=Path, default=Path("build/cache"))
    parser.add_argument("--again", action="store_true", help="measure only the fastest plans of recordings that exist")
    parser.add_argument("--compile-only", action="store_true", help="fill the cache, measure nothing but the profile")
    given = parser.parse_args()
    for name in given.mixes or MIXES:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            tenants = []
            for model in MIXES[name]:
                onnx.save(models.MODELS[model](), str(folder / f"{model}.onnx"))
                tenants.append(TenantSettings(path=folder / f"{model}.onnx", name=model))
            prepared = prepare(Settings(tenants=tuple(tenants), cache=given.cache), stack, _tell)
            if not given.compile_only:
                path = given.out / f"{name}{SUFFIX}"
                known = read_recording(path) if given.again else None
                recording = again(known, prepared) if known else record(name, prepared, given.seconds)
                write_recording(path, recording)
                sys.stdout.write(f"{name}: {len(recording.trials)} trials\n")


if __name__ == "__main__":
    main()
