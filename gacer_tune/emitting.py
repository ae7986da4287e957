"""Writes the artifact: a module with just the functions its schedules use, weights, schedules, record, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gacer_tune.artifact import (
    MODULE,
    PLAN,
    REPORT,
    SCHEDULE,
    TRACE,
    TRIALS,
    WEIGHTS,
    Artifact,
    schedule_document,
)
from gacer_tune.events import Event, Listen
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.preparing import Prepared, link_module
from gacer_tune.report.chrome_trace import chrome_trace
from gacer_tune.report.content import collect
from gacer_tune.report.html import report_html
from gacer_tune.report.track import recorded
from gacer_tune.runtime import op_of
from gacer_tune.search.seeds import baselines
from gacer_tune.search.trial import Trial
from gacer_tune.store.fingerprint import WITH_BYTES, host_fingerprint
from gacer_tune.store.publish import publish
from gacer_tune.targets import device_document


@dataclass(frozen=True)
class Emission:
    """schedules by name; figures: what the manifest says of the result; traces: recorded runs by the schedule's
    name; paths: the model files, in the order of the tenants; simulated: the GPU that did not really run them.
    """

    schedules: dict[str, Schedule]
    figures: dict[str, Any]
    trials: Sequence[Trial]
    traces: dict[str, list[tuple[int, int, int, float, float]]]
    paths: tuple[Path, ...]
    simulated: str | None = None


def alone(prepared: Prepared, lanes: int) -> dict[str, Schedule]:
    """For each tenant `alone/NAME`: all its ops over all lanes."""
    found = {}
    for number, tenant in enumerate(prepared.workload.tenants):
        profile = prepared.profile
        only = replace(profile, alone=(profile.alone[number],), shared=(profile.shared[number],))
        found[f"alone/{tenant.name}"] = baselines(Workload((tenant,), prepared.workload.target), only, lanes)[
            "sequential"
        ]
    return found


def used_functions(workload: Workload, schedules: dict[str, Schedule]) -> tuple[str, ...]:
    """Names of the functions that the schedules call, each once."""
    names: dict[str, None] = {}
    for name, schedule in schedules.items():
        tenant = name.partition("/")[2]
        tenants = [t for t in workload.tenants if not tenant or t.name == tenant]
        for model, row in zip(tenants, schedule.variants, strict=True):
            for kernel, variant in zip(model.kernels, row, strict=True):
                names[kernel.variants[variant].function] = None
    return tuple(names)


def emit(out: Path, prepared: Prepared, emission: Emission, cycles_per_second: float, listen: Listen) -> None:
    """Publish the artifact in `out`, the manifest last."""
    listen(Event("write", str(out)))
    workload = prepared.workload
    names = used_functions(workload, emission.schedules)
    document = schedule_document(workload, emission.schedules, names, prepared.profile)
    sources = prepared.compiled.sources
    machine = next(iter(sources.values())).machine
    dots = any(sources[name].rule == "byte_conv" for name in names)
    manifest = {
        "kind": "gacer-tune artifact",
        "workload": workload.key,
        "target": workload.target,
        "isa": machine.isa + (WITH_BYTES if dots else ""),
        "precision": machine.precision,
        "cycles_per_second": cycles_per_second,
        "fingerprint": host_fingerprint().document() | device_document(workload, emission.simulated),
        "tenants": _ports(workload, emission.paths),
        "figures": emission.figures,
        **({"simulated": emission.simulated} if emission.simulated else {}),
    }
    lines = "".join(json.dumps({"workload": workload.key, "trial": t.to_json()}) + "\n" for t in emission.trials)
    files: dict[str, bytes | Path] = {
        **({} if emission.simulated else _runnable(prepared, emission.schedules["best"], names, listen)),
        SCHEDULE: json.dumps(document, indent=1).encode(),
        TRIALS: lines.encode(),
        **_pages(Artifact(out, manifest, workload, emission.schedules, names, prepared.profile), emission),
    }
    publish(out, files, manifest)


def _runnable(prepared: Prepared, best: Schedule, names: Sequence[str], listen: Listen) -> dict[str, bytes | Path]:
    files: dict[str, bytes | Path] = {
        MODULE: link_module(prepared.compiled, names, prepared.cache, listen),
        WEIGHTS: prepared.folder / "weights.safetensors",
    }
    if prepared.workload.target == "cuda":
        from gacer_tune.executor.cuda.listing import listing

        files[PLAN] = listing(prepared.workload, lower(prepared.workload, best)).encode()
    return files


def _pages(artifact: Artifact, emission: Emission) -> dict[str, bytes | Path]:
    """The report, and the emitted schedule's recorded run as a trace."""
    tracks = {
        name: recorded(f"{name}, recorded", artifact.workload, lower(artifact.workload, artifact.schedules[name]), rows)
        for name, trace in emission.traces.items()
        if (rows := [(t, op_of(artifact.workload, t, k), k, lane, a, b) for t, k, lane, a, b in trace])
    }
    report = collect(artifact, emission.trials)
    before, after = tracks.get(report.figures.baseline, report.before), tracks.get("best", report.after)
    page = report_html(replace(report, before=before, after=after))
    return {REPORT: page.encode(), TRACE: json.dumps(chrome_trace(after)).encode()}


def _ports(workload: Workload, paths: Sequence[Path]) -> list[dict[str, Any]]:
    def described(ports: Any) -> dict[str, Any]:
        return {port.name: {"shape": list(port.shape), "dtype": port.dtype} for port in ports}

    return [
        {
            "name": tenant.name,
            "path": str(path),
            "model": tenant.model,
            "batch": tenant.batch,
            "inputs": described(tenant.inputs),
            "outputs": described(tenant.outputs),
        }
        for tenant, path in zip(workload.tenants, paths, strict=True)
    ]
