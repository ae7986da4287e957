"""On a GPU: outputs against ONNX Runtime, every schedule's bits, bad candidates: `python -m tests.gpu.check BUNDLE`.

Exits with 3 when something is not right; after a crash the next run goes on behind the mix that crashed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gacer_tune.checking import TOLERANCES, relative_error
from gacer_tune.devices.child import ChildDevice, Limits
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.search.streams import one_stream, stream_per_tenant
from gacer_tune.search.trial import Failure, Timing
from tests.gpu.mixes import Mix, folders, open_mix
from tests.gpu.results import CRASHED, work_through
from tests.gpu.tables import checks

SCHEDULES = 12
LANES = 6
HANG_S = 5.0
FAULTS = {"crash": "crash", "hang": "timeout", "memory": "memory", "wrong-output": "wrong-output"}


def check_outputs(mix: Mix, dry: bool) -> dict[str, Any]:
    """The largest error of each tenant, against the bound of its precision."""
    ours, found = mix.bench.outputs(), {}
    for number, tenant in enumerate(mix.workload.tenants):
        expected = [ours[f"{number}/{port.name}"] for port in tenant.outputs] if dry else mix.expected(number)
        errors = [
            relative_error(ours[f"{number}/{port.name}"], array)
            for port, array in zip(tenant.outputs, expected, strict=True)
        ]
        found[f"{number}/{tenant.name}"] = max(errors, default=0.0)
    bound = TOLERANCES[mix.precision]
    return {"errors": found, "allowed": bound, "ok": all(error <= bound for error in found.values())}


def check_exactness(mix: Mix, seed: int) -> dict[str, Any]:
    """Random schedules on all streams must have the bits of the sequential one."""
    rng, wrong = random.Random(seed), []
    lanes = len(mix.bench.session.streams)
    drawn = [random_schedule(mix.workload, lanes, rng) for _ in range(SCHEDULES)]
    for schedule in (stream_per_tenant(mix.workload, lanes), *drawn):
        if isinstance(result := mix.bench.measure(schedule, 1), Failure):
            wrong.append({"schedule": schedule.to_json(), "failure": result.message})
    return {"schedules": 1 + len(drawn), "wrong": wrong, "ok": not wrong}


def check_faults(folder: Path) -> Iterator[dict[str, Any]]:
    """Each bad candidate fails alone, in the way it should; the next one runs."""
    workload = Workload.from_json(json.loads((folder / "workload.json").read_text())["workload"])
    good, bad = one_stream(workload, LANES), stream_per_tenant(workload, LANES)
    found: dict[str, str] = {}
    for fault, kind in FAULTS.items():
        found[fault] = _fault(folder, fault, kind, (good, bad))
    yield {"found": found, "ok": all(text == "ok" for text in found.values())}


def _fault(folder: Path, fault: str, kind: str, schedules: tuple[Schedule, Schedule]) -> str:
    good, bad = schedules
    with ChildDevice(folder, range(LANES), Limits(HANG_S), {bad.digest: fault}) as device:
        before, failed, after = device.measure(good, 2), device.measure(bad, 2), device.measure(good, 2)
    if not (isinstance(before, Timing) and isinstance(after, Timing)):
        return f"the good schedule does not run: {before} before, {after} behind"
    if not isinstance(failed, Failure) or failed.kind != kind:
        return f"{kind} expected, {failed} found"
    return "ok"


def checked(folder: Path, dry: bool) -> Iterator[dict[str, Any]]:
    """The bits first, which need nothing else: they are kept whatever becomes of ONNX Runtime."""
    mix = open_mix(folder, LANES, dry)
    row: dict[str, Any] = {"precision": mix.precision, "exactness": check_exactness(mix, 1)}
    yield row | {"ok": False, **CRASHED}
    try:
        outputs = check_outputs(mix, dry)
    except ImportError as error:
        outputs = {"failed": str(error), "ok": False}
    yield row | {"outputs": outputs, "ok": row["exactness"]["ok"] and outputs["ok"]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check bundled mixes on a GPU.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--json", type=Path, required=True, help="where to write all results")
    parser.add_argument("--budget", type=float, default=150.0, help="no further mix is begun after so many seconds")
    parser.add_argument("--dry-run", action="store_true", help="no GPU: a driver that computes zeros")
    given = parser.parse_args(arguments)
    small = folders(given.bundle, small=True)
    parts = [(folder.name, partial(checked, folder, given.dry_run)) for folder in small]
    if small and not given.dry_run:
        parts.append(("faults", partial(check_faults, small[0])))
    results = work_through(given.json, parts, given.budget)
    sys.stdout.write(checks(results) + "\n")
    return 0 if results and all(result.get("ok") for result in results.values()) else 3


if __name__ == "__main__":
    sys.exit(main())
