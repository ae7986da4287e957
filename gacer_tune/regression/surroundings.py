"""What two artifacts were made for and with, and why their times may not be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gacer_tune.artifact import Artifact
from gacer_tune.ir.workload import Port, Tenant
from gacer_tune.regression.change import Change, changed
from gacer_tune.regression.decisions import same_ops
from gacer_tune.report.units import plain
from gacer_tune.report.verdict import words

# Fields of a fingerprint that measured times depend on; the others may differ from one day to the next.
DEVICE = ("machine", "cpu", "cpu_id", "flags", "cores", "caches", "gpu")


def surroundings(before: Artifact, after: Artifact) -> tuple[Change, ...]:
    """Differences of models, device and toolchain."""
    return (*_workload(before, after), *_device(before, after), *_toolchain(before, after))


def obstacles(before: Artifact, after: Artifact, here: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the times of the two cannot be compared on the machine `here` (its fingerprint's document); empty: they can.

    Both must run the same models with the same inputs, and both must have been tuned for this machine: elsewhere a
    schedule says nothing about the machine that it was found on.
    """
    was, now = _by_name(before), _by_name(after)
    found = []
    if was.keys() != now.keys():
        found.append(f"other models: {', '.join(now)} (was {', '.join(was)})")
    for name in (name for name in now if name in was):
        found += _other_tenant(was[name], now[name])
    for artifact, whose in ((before, "the baseline"), (after, "the new artifact")):
        found += _other_device(artifact, whose, here)
    return tuple(found)


def _other_tenant(was: Tenant, now: Tenant) -> Iterator[str]:
    if _ports(was.inputs) != _ports(now.inputs) or was.batch != now.batch:
        yield f"{now.name}: other inputs: {_inputs(now)} (was {_inputs(was)})"
    elif was.model != now.model or _ports(was.outputs) != _ports(now.outputs):
        yield f"{now.name}: another model: {now.model[:12]} (was {was.model[:12]})"


def _other_device(artifact: Artifact, whose: str, here: Mapping[str, Any]) -> Iterator[str]:
    there = _fingerprint(artifact)
    if simulated := artifact.manifest.get("simulated"):
        yield f"{whose} was found on a simulated {plain(simulated)}: there is nothing in it to run"
        return
    if names := [name for name in DEVICE if there.get(name) != here.get(name)]:
        differences = (f"{words(name)} {_brief(there.get(name))}, here {_brief(here.get(name))}" for name in names)
        yield f"{whose} was tuned for another machine: {'; '.join(differences)}"


def _workload(before: Artifact, after: Artifact) -> Iterator[Change]:
    was, now = _by_name(before), _by_name(after)
    objectives = tuple(artifact.manifest.get("figures", {}).get("objective") for artifact in (before, after))
    values = {
        "tenants": (list(was), list(now)),
        "target": (before.workload.target, after.workload.target),
        "objective": (objectives[0], objectives[1]),
    }
    yield from changed("workload", "", values)
    for name in (name for name in now if name in was):
        yield from _tenant(was[name], now[name])


def _tenant(was: Tenant, now: Tenant) -> Iterator[Change]:
    values = {
        "model": (was.model[:12], now.model[:12]),
        "batch": (was.batch, now.batch),
        "inputs": (_inputs(was), _inputs(now)),
        "outputs": (_shapes(was.outputs), _shapes(now.outputs)),
        "weight": (was.weight, now.weight),
        "slo": (_slo(was), _slo(now)),
    }
    yield from changed("workload", now.name, values)
    if not same_ops(was, now):
        yield Change("workload", "ops", now.name, _ops(was), f"{_ops(now)}: decisions about them are not compared")


def _device(before: Artifact, after: Artifact) -> Iterator[Change]:
    was, now = _fingerprint(before), _fingerprint(after)
    for name in DEVICE:
        if was.get(name) != now.get(name):
            yield Change("device", words(name), "", _brief(was.get(name)), _brief(now.get(name)))


def _toolchain(before: Artifact, after: Artifact) -> Iterator[Change]:
    packages = [dict(_fingerprint(artifact).get("packages", ())) for artifact in (before, after)]
    values = {name: (packages[0].get(name), packages[1].get(name)) for name in sorted({*packages[0], *packages[1]})}
    isas = before.manifest.get("isa"), after.manifest.get("isa")
    yield from changed("toolchain", "", {"instruction set": isas, **values})
    if not set(before.functions) & set(after.functions) and before.functions and after.functions:
        yield Change("toolchain", "code of the kernels", "", "other", "compiled anew, variants compared by work items")


def _by_name(artifact: Artifact) -> dict[str, Tenant]:
    return {tenant.name: tenant for tenant in artifact.workload.tenants}


def _fingerprint(artifact: Artifact) -> Mapping[str, Any]:
    found = artifact.manifest.get("fingerprint")
    return found if isinstance(found, dict) else {}


def _ports(ports: tuple[Port, ...]) -> list[tuple[str, tuple[int, ...], str]]:
    return sorted((port.name, port.shape, port.dtype) for port in ports)


def _shapes(ports: tuple[Port, ...]) -> str:
    return ", ".join(f"{name} {dtype} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape, dtype in _ports(ports))


def _inputs(tenant: Tenant) -> str:
    return _shapes(tenant.inputs)


def _ops(tenant: Tenant) -> str:
    return f"{len(tenant.ops)} ops"


def _slo(tenant: Tenant) -> str:
    return f"{tenant.slo_s * 1000:g} ms" if tenant.slo_s else "none"


def _brief(value: Any) -> str:
    text = plain(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
