"""On a GPU: what shares of it (green contexts) change, bits and times: `python -m tests.gpu.shares BUNDLE --json OUT`.

Exits with 3 when outputs are wrong or something fails, not when time is short; after a crash the next run goes on
behind the mix that crashed.

Each finding is kept as soon as it is there: the bits of plans with shares, their times in turns with the same plans
without, and last whether timed events work beside green contexts, without which the search cannot use them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gacer_tune.devices.cuda.gpu import NOT_DIVIDED, gpu_here
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.streams import even_shares, random_shares
from gacer_tune.search.streams import one_stream, stream_per_tenant
from gacer_tune.search.trial import Failure
from tests.gpu.mixes import Mix, folders, open_mix
from tests.gpu.results import LATE, work_through
from tests.gpu.tables import shares as shown

LANES = 6
DRAWN, PAIRS = 3, 20


def check_bits(mix: Mix, even: Schedule, seed: int = 2) -> dict[str, Any]:
    """Even shares and some drawn ones must have the bits of the sequential plan; without marks in their graphs."""
    rng, bench = random.Random(seed), mix.bench
    drawn = [random_shares(mix.workload, random_schedule(mix.workload, LANES, rng), rng) for _ in range(DRAWN)]
    wrong = []
    for schedule in (even, *drawn):
        loaded = bench.load(schedule)
        if bench.digest(loaded) != bench.expected:
            wrong.append(schedule.to_json())
        bench.discard(loaded)
    return {"schedules": 1 + len(drawn), "wrong": wrong, "ok": not wrong}


def against_none(mix: Mix, schedule: Schedule) -> dict[str, float]:
    """Median seconds with the shares of a schedule and without, in turns, and how many times as long it takes with."""
    pairs = mix.bench.compare(replace(schedule, shares=()), schedule, PAIRS)
    return {
        "without_s": statistics.median(a for a, _ in pairs),
        "with_s": statistics.median(b for _, b in pairs),
        "times": statistics.median(b / a for a, b in pairs),
    }


def measured(folder: Path, dry: bool) -> Iterator[dict[str, Any]]:
    """An eighth of the GPU for everything tells whether a graph keeps shares: large kernels take longer then."""
    part_sms = 1 if dry else gpu_here().part_sms
    if not part_sms:
        yield {"refused": f"this GPU {NOT_DIVIDED}", "ok": True}
        return
    mix = open_mix(folder, LANES, dry)
    even = even_shares(stream_per_tenant(mix.workload, LANES))
    row: dict[str, Any] = {"part_sms": part_sms, "shares": even.shares, "bits": check_bits(mix, even)}
    row["ok"] = row["bits"]["ok"]
    yield row
    row["even"] = against_none(mix, even)
    row["eighth"] = against_none(mix, replace(one_stream(mix.workload, LANES), shares=(1,)))
    yield row
    timed = mix.bench.measure(even, 2)
    row["marked"] = timed.message if isinstance(timed, Failure) else "ok"
    yield row


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Plans with shares of a GPU, against the same ones without.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=40.0, help="no further mix is begun after so many seconds")
    parser.add_argument("--dry-run", action="store_true", help="no GPU: a driver that computes zeros")
    given = parser.parse_args(arguments)
    found = folders(given.bundle, small=False) or folders(given.bundle, small=True)
    parts = [(folder.name, partial(measured, folder, given.dry_run)) for folder in found]
    results = work_through(given.json, parts, given.budget)
    sys.stdout.write(shown(results) + "\n")
    return 0 if results and all(row.get("ok", row == LATE) for row in results.values()) else 3


if __name__ == "__main__":
    sys.exit(main())
