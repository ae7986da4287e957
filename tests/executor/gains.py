"""What work stealing gains here: `python -m tests.executor.gains MODEL [MODEL ...] [--busy]`.

The sequential plan and the one with a lane for each tenant, with and without stealing, in one process and in turns.
--busy: while another process computes on one of the cores for 5 ms in every 20.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

import models
from gacer_tune.events import Event
from gacer_tune.executor.session import Session
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.preparing import Prepared, prepare
from gacer_tune.search.seeds import baselines
from gacer_tune.settings import Settings
from gacer_tune.tenant_settings import TenantSettings
from gacer_tune.tenants import functions

PLANS = ("sequential", "lane_per_tenant")
DISTURB = """
import time
while True:
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass
    time.sleep(0.015)
"""


def measure(prepared: Prepared, seconds: float) -> dict[tuple[str, bool], list[float]]:
    """Seconds of the runs of each plan, without and with stealing."""
    workload, memory = prepared.workload, place(prepared.workload)
    session = Session(prepared.folder / "module.so", workload, memory, functions(workload), prepared.cpus)
    session.read_weights(prepared.folder / "weights.safetensors")
    known = baselines(workload, prepared.profile, len(prepared.cpus))
    plans = {
        (name, steal): session.load(lower(workload, replace(known[name], steal=steal), memory))
        for name in PLANS
        for steal in (False, True)
    }
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in plans}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key in random.sample(list(plans), len(plans)):
            session.run(plans[key])
            for _ in range(2):
                begin = time.perf_counter()
                session.run(plans[key])
                times[key].append(time.perf_counter() - begin)
    return times


def tell(times: dict[tuple[str, bool], list[float]]) -> str:
    base = times[PLANS[0], False]
    lines = [f"sequential {1e3 * statistics.median(base):.2f} ms; as many times as fast, in the median and (p95):"]
    for (name, steal), taken in times.items():
        ratio = statistics.median(base) / statistics.median(taken)
        tail = np.percentile(base, 95) / np.percentile(taken, 95)
        lines.append(f"  {name}{', stealing' * steal}: {ratio:.3f} ({tail:.3f})")
    return "\n".join(lines)


@contextmanager
def disturbed(busy: bool) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", DISTURB]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def silent(_: Event) -> None:
    """Nobody listens."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.executor.gains", description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="of models/")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path("build/cache"))
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in given.models:
            onnx.save(models.MODELS[name](), str(folder / f"{name}.onnx"))
        tenants = tuple(TenantSettings(path=folder / f"{name}.onnx", name=name) for name in given.models)
        prepared = prepare(Settings(tenants=tenants, cache=given.cache), stack, silent)
        with disturbed(given.busy):
            times = measure(prepared, given.seconds)
    sys.stdout.write(f"{'+'.join(given.models)}{', beside a busy process' * given.busy}: {tell(times)}\n")


if __name__ == "__main__":
    main()
