"""On a GPU: plans against PyTorch over the bundled mixes: `python -m tests.gpu.measure BUNDLE --json OUT`.

Exits with 3 when some mix was not measured; after a crash the next run goes on behind the mix that crashed.

For each mix every variant is timed, the baselines and some neighbours of the best are measured, and the best is run in
interleaved pairs against each baseline. PyTorch runs the same models at the same precision, timed the same way.
What a run costs the host is timed by its clock: the call that launches the best graph, and an empty graph from call to
end. Times are those of the GPU only while the launch is over before the cache is overwritten, which is timed, too.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import onnx

from gacer_tune.bench.system import RefusedError
from gacer_tune.devices.cuda.gpu import clocks_mhz, gpu_here
from gacer_tune.ir.neighbours import neighbours
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.streams import even_shares
from gacer_tune.lowering.graph import read_graph
from gacer_tune.search.seeds import baselines, seeds
from gacer_tune.search.streams import stream_per_tenant
from gacer_tune.search.trial import Timing
from tests.gpu.likeness import with_weights
from tests.gpu.mixes import Mix, folders, open_mix
from tests.gpu.results import work_through
from tests.gpu.tables import table

LANES = 6
RUNS, PAIRS, LAUNCHES = 9, 30, 200
LIMIT_S = 120.0  # for one mix: most of it is what PyTorch takes to get ready
TUNING_S, FEWER = 30.0, 10  # so long cuDNN tries all its algorithms, then so many: PyTorch's own limit


def searched(mix: Mix, budget_s: float, shares: bool = False, seed: int = 0) -> tuple[dict[str, Any], Schedule]:
    """Seconds of the baselines and of the best schedule found, its gain over each of them in pairs; and itself."""
    bench = mix.bench
    profile = bench.profile()
    lanes = len(bench.session.streams)
    starts = baselines(mix.workload, profile, lanes)
    times = {name: _seconds(bench.measure(schedule, RUNS)) for name, schedule in starts.items()}
    baseline = min(times, key=lambda name: times[name])
    best, best_s = starts[baseline], times[baseline]
    began, tried, rng = time.monotonic(), 0, random.Random(seed)
    waiting = list(seeds(mix.workload, profile, lanes))
    if shares:  # the search goes on with them where they win
        waiting.insert(0, even_shares(stream_per_tenant(mix.workload, lanes)))
    while time.monotonic() - began < budget_s:
        waiting = waiting or list(islice(neighbours(mix.workload, best, rng), 8))
        candidate = waiting.pop(0)
        seconds, tried = _seconds(bench.measure(candidate, 3)), tried + 1
        if seconds < best_s and (again := _seconds(bench.measure(candidate, RUNS))) < best_s:
            best, best_s, waiting = candidate, again, []
    search_s = time.monotonic() - began
    pairs = {name: bench.compare(start, best, PAIRS) for name, start in starts.items()}
    row = {
        **launch_overhead(mix, best),
        "baselines_s": times, "baseline": baseline, "tried": tried, "search_s": search_s, "schedule": best.to_json(),
        "pairs_s": {name: statistics.median(a for a, _ in both) for name, both in pairs.items()},
        "gains": {name: statistics.median(a / b for a, b in both) for name, both in pairs.items()},
        "best_s": statistics.median(b for both in pairs.values() for _, b in both), "profile": profile.to_json(),
    }  # fmt: skip
    return row, best


def launch_overhead(mix: Mix, schedule: Schedule) -> dict[str, Any]:
    """Median seconds on the host: of the call that launches a plan; from the launch of an empty graph to its end.

    flush_s: on the device, of what stands before each timed run.
    """
    session, driver = mix.bench.session, mix.bench.session.driver
    stream = session.streams[0]
    driver.begin_capture(stream)
    empty = driver.instantiate(driver.end_capture(stream))
    loaded = mix.bench.load(schedule)
    found = {
        "nodes": sum(map(len, loaded.plan.lanes)),
        "launch_s": _median_s(lambda: driver.run(loaded.instance, stream), lambda: driver.synchronize(stream)),
        "empty_s": _median_s(lambda: (driver.run(empty, stream), driver.synchronize(stream)), lambda: None),
        "flush_s": statistics.median(_flush_s(mix) for _ in range(RUNS)),
    }
    driver.drop(0, empty)
    mix.bench.discard(loaded)
    return found


def _flush_s(mix: Mix) -> float:
    session, driver = mix.bench.session, mix.bench.session.driver
    begin, end = driver.event(timed=True), driver.event(timed=True)
    driver.record(begin, session.streams[0])
    session.flush()
    driver.record(end, session.streams[0])
    driver.synchronize(session.streams[0])
    return driver.elapsed_s(begin, end)


def _median_s(timed: Callable[[], object], between: Callable[[], object]) -> float:
    seconds = []
    for _ in range(LAUNCHES):
        begin = time.perf_counter()
        timed()
        seconds.append(time.perf_counter() - begin)
        between()
    return statistics.median(seconds[LAUNCHES // 10 :])


def _seconds(result: object) -> float:
    return result.median_s if isinstance(result, Timing) else float("inf")


def with_torch(mix: Mix, best: Schedule) -> dict[str, Any]:
    """Median seconds of each of PyTorch's modes and of ours, timed in turns: clocks that drop, drop for all of them.

    against: by mode, how many times as long as ours it takes.
    """
    import torch

    from gacer_tune.bench.torch_peer import fastest_layout, modes, prepare, torch_model

    prepare(torch, mix.precision)
    scrap = torch.empty(mix.bench.session.flush_nbytes, dtype=torch.uint8, device="cuda")
    graphs = [read_graph(with_weights(onnx.load(str(path)))) for path in mix.canonical]
    made = [
        [torch_model(torch, graph, mix.feeds(number), mix.precision, last) for last in (True, False)]
        for number, graph in enumerate(graphs)
    ]
    with patience(torch):
        models = [fastest_layout(torch, both, lambda run: _timed(torch, run, scrap)) for both in made]
        ways = modes(torch, models)
    loaded = mix.bench.load(best)
    runs: dict[str, Callable[[], float]] = {"ours": lambda: mix.bench.seconds(loaded)}
    for name, (run, _) in ways.items():
        runs[name] = partial(_timed, torch, run, scrap)
    rounds = [{name: seconds() for name, seconds in runs.items()} for _ in range(RUNS + 3)][3:]
    mix.bench.discard(loaded)
    found = {name: statistics.median(each[name] for each in rounds) for name in runs}
    ours = found.pop("ours")
    return {
        "torch_s": found, "ours_beside_s": ours,
        "against": {name: statistics.median(each[name] / each["ours"] for each in rounds) for name in found},
        "algorithms": torch.backends.cudnn.benchmark_limit or "all",
        "layouts": ["channels last" if model.channels_last else "as exported" for model in models],
        "torch": torch.__version__,
    }  # fmt: skip


@contextmanager
def patience(torch: Any, seconds: float = TUNING_S) -> Iterator[None]:
    """cuDNN compiles some of the algorithms that it tries: all of them could take minutes for a large model."""
    timer = threading.Timer(seconds, setattr, (torch.backends.cudnn, "benchmark_limit", FEWER))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _timed(torch: Any, run: Callable[[], Any], scrap: Any) -> float:
    """Seconds by events on the device, the second-level cache overwritten before, as our own plans are timed."""
    scrap.zero_()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def measured(folder: Path, budget_s: float, dry: bool, shares: bool) -> Iterator[dict[str, Any]]:
    """Ours, which is kept whatever becomes of PyTorch; then both."""
    mix = open_mix(folder, LANES, dry)
    before = {} if dry else clocks_mhz()
    row, best = searched(mix, budget_s, shares and (dry or gpu_here().part_sms > 0))
    if dry:
        yield row
        return
    row["gpu"] = gpu_here().document() | {"clocks_mhz": clocks_mhz(), "clocks_before_mhz": before}
    yield row | {"torch_failed": "it ended the process"}
    try:
        row |= with_torch(mix, best)
    except (ImportError, OSError, RefusedError) as error:  # after any other one, CUDA may be of no use to this process
        row["torch_failed"] = f"{error}"[:300]
    yield row


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure bundled mixes on a GPU, against PyTorch.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--only", default="", help="mixes whose name contains this")
    parser.add_argument("--search", type=float, default=8.0, help="seconds of search for each mix")
    parser.add_argument("--budget", type=float, default=330.0, help="no further mix is begun after so many seconds")
    parser.add_argument("--small", action="store_true", help="the mixes of small models")
    parser.add_argument("--shares", action="store_true", help="also schedules whose lanes have shares of the GPU")
    parser.add_argument("--dry-run", action="store_true", help="no GPU: a driver that computes zeros, no PyTorch")
    given = parser.parse_args(arguments)
    search_s = 0.2 if given.dry_run else given.search
    found = folders(given.bundle, given.small) or (folders(given.bundle, True) if given.dry_run else [])
    wanted = [folder for folder in found if given.only in folder.name]
    parts = [(folder.name, partial(measured, folder, search_s, given.dry_run, given.shares)) for folder in wanted]
    results = work_through(given.json, parts, given.budget, LIMIT_S)
    sys.stdout.write(table(results) + "\n")
    return 0 if results and all("best_s" in row for row in results.values()) else 3


if __name__ == "__main__":
    sys.exit(main())
