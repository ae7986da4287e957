"""gacer-tune verify: is an artifact whole, fit for this machine, and right?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from gacer_tune.cli.codes import MISMATCH
from gacer_tune.cli.options import Folder, Json
from gacer_tune.cli.output import Output
from gacer_tune.errors import UserError

if TYPE_CHECKING:
    from gacer_tune.artifact import Artifact
    from gacer_tune.runtime import Module

_SEEDS = (0, 1, 2)


def verify(folder: Folder, as_json: Json = False) -> None:
    """Check that an artifact is whole, fits here and is right.

    Compares its files with their hashes, its schedules with its models, this processor with what it was compiled for,
    and the results of joint runs with those of sequential ones. Exit code 2 where the artifact cannot be used here, 3
    where results differ.
    """
    from gacer_tune.artifact import read_artifact
    from gacer_tune.runtime import load

    output = Output(as_json)
    artifact = read_artifact(folder)
    output.say(f"ok: {len(artifact.manifest['files'])} files match their hashes in manifest.json")
    _verify_schedules(artifact)
    output.say(f"ok: {len(artifact.schedules)} schedules are legal for the workload")
    module = load(folder)
    output.say(f"ok: compiled for {artifact.manifest['isa']}, which this processor has; it loads")
    note = _other_machine(artifact.manifest)
    if note:
        output.say(f"note: {note}")
    differing = _differing(module)
    if differing:
        output.say(f"failed: not the bits of the sequential run: {', '.join(differing)}")
    else:
        output.say(f"ok: {len(_SEEDS)} joint runs have the bits of the sequential ones")
    output.result({"ok": not differing, "note": note, "differing": differing})
    if differing:
        raise typer.Exit(MISMATCH)


def _verify_schedules(artifact: Artifact) -> None:
    """Those named `alone/TENANT` belong to that tenant only."""
    from gacer_tune.ir.verify import IllegalScheduleError
    from gacer_tune.ir.verify import verify as verify_schedule
    from gacer_tune.ir.workload import Workload

    for name, schedule in artifact.schedules.items():
        kind, _, tenant = name.partition("/")
        tenants = [t for t in artifact.workload.tenants if kind != "alone" or t.name == tenant]
        try:
            verify_schedule(Workload(tuple(tenants), artifact.workload.target), schedule)
        except IllegalScheduleError as error:
            raise UserError(f"{artifact.folder}: schedule {name!r}: {error}") from error


def _other_machine(manifest: Mapping[str, Any]) -> str:
    """What differs from the machine it was tuned on; empty where nothing does that changes times."""
    from gacer_tune.store.fingerprint import host_fingerprint

    there, here = manifest.get("fingerprint", {}), host_fingerprint().document()
    names = [name for name in ("cpu", "cpu_id", "cores", "caches") if there.get(name) != here.get(name)]
    if not names:
        return ""
    changes = "; ".join(f"{name} {there.get(name)}, here {here.get(name)}" for name in names)
    return f"tuned on another machine, so another schedule may be faster here ({changes})"


def _differing(module: Module) -> list[str]:
    """Outputs whose bits depend on the schedule, for a few random inputs."""
    from gacer_tune.cli.run import samples

    found: dict[str, None] = {}
    for seed in _SEEDS:
        inputs = samples(module, seed)
        one, other = module.run(inputs, "sequential"), module.run(inputs)
        for tenant, row in one.items():
            for name, array in row.items():
                if array.tobytes() != other[tenant][name].tobytes():
                    found[f"{tenant}/{name}"] = None
    return list(found)
