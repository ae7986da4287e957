"""MetaSchedule against ours, kernel by kernel: `python -m tests.bench.metaschedule MODEL.onnx --kernels 10,15`.

Each kernel is searched with --trials schedules, as `gacer-tune tune --kernels metaschedule` does, unless the cache has
its record. Then the best of our variants and the best of MetaSchedule's are run in turn, alone and over all lanes, with
their operands in the caches. Without --kernels the heavy kernels of the model are listed.
"""

from __future__ import annotations

import argparse
import statistics
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from gacer_tune.devices.child import ChildDevice
from gacer_tune.executor import threads
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.shapes import input_bounds
from gacer_tune.kernels.build import build
from gacer_tune.kernels.rules import Source, candidates
from gacer_tune.lowering.lower import lower_model
from gacer_tune.metaschedule.records import KernelRecord, find
from gacer_tune.metaschedule.search import Place, Searched, search, usable
from gacer_tune.metaschedule.timing import REPEATS, plan, stage
from gacer_tune.metaschedule.variants import heavy
from gacer_tune.search.trial import Timing
from gacer_tune.store.cache import Cache
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.targets import machine_here
from gacer_tune.temporary import temporary_folder
from gacer_tune.tenants import Model, assemble

PAIRS = 41


def kernels_of(path: Path) -> list[Source]:
    """Our first variants of the heavy kernels of a model."""
    machine, model = machine_here(), load_model(path)
    return heavy(assemble([Model("model", "0" * 64, lower_model(model, machine, input_bounds(model)))], machine))


def searched(kernels: Sequence[Source], trials: int, place: Place) -> list[KernelRecord]:
    """The records of the kernels."""
    known = []
    for ours in kernels:
        empty = KernelRecord(ours.spec, machine_here(), host_fingerprint())
        known.append(Searched(ours, find(place.cache, empty)))
    return search(known, trials, place)


def ratios(ours: Sequence[Source], other: Source, place: Place) -> list[float]:
    """Time of our best variant over that of the other, median of the pairs, on one lane and on all."""
    objects = build([*ours, other], place.cache, len(place.cpus), lambda _done, _all: None)
    found = []
    with temporary_folder() as folder:
        sources = [*ours, other]
        workload = stage(sources, [objects[source.name] for source in sources], folder)
        with ChildDevice(folder, place.cpus) as device:
            for lanes in (1, len(place.cpus)):
                results = [device.measure(plan(workload, lanes, number), REPEATS) for number in range(len(ours))]
                times = [result.median_s if isinstance(result, Timing) else float("inf") for result in results]
                best = plan(workload, lanes, times.index(min(times)))
                pairs = device.compare(best, plan(workload, lanes, len(ours)), PAIRS)
                assert isinstance(pairs, tuple), pairs
                found.append(statistics.median(one / another for one, another in pairs))
    return found


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--kernels", help="numbers, as in 10,15")
    parser.add_argument("--trials", type=int, default=64)
    given = parser.parse_args()
    kernels = kernels_of(given.model)
    texts = [f"{n:3} {type(s.spec).__name__} {s.spec.tensors(s.machine)[0].shape} -> {s.spec.out.shape} "
             f"{getattr(s.spec, 'window', '')}" for n, s in enumerate(kernels)]  # fmt: skip
    numbers = [int(number) for number in given.kernels.split(",")] if given.kernels else []
    place = Place(Cache(), threads.allowed_cpus(), lambda _: None, threading.Event())
    chosen = [kernels[number] for number in numbers]
    for number, ours, record in zip(numbers, chosen, searched(chosen, given.trials, place), strict=True):
        exact = sum(isinstance(attempt.result, Timing) for attempt in record.attempts)
        other = usable(record, place.cache)
        if other is None:
            say(f"{texts[number]}: nothing found in {len(record.attempts)} trials")
            continue
        all_ours = [Source(ours.spec, tile, ours.machine) for tile in candidates(ours.spec, ours.machine)]
        one, every = ratios(all_ours, other, place)
        say(f"{texts[number]}: {exact} of {len(record.attempts)} trials ran, ours / its: {one:.2f} on one lane, "
            f"{every:.2f} on {len(place.cpus)}")  # fmt: skip
    for text in [] if numbers else texts:
        say(text)


if __name__ == "__main__":
    main()
