"""gacer-tune run: one run of an artifact, its outputs saved or compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gacer_tune.cli.codes import MISMATCH
from gacer_tune.cli.options import Folder, Json, spread
from gacer_tune.cli.output import Output, printable, table
from gacer_tune.errors import UserError
from gacer_tune.report.units import seconds_text

if TYPE_CHECKING:
    from gacer_tune.cli.arrays import Arrays
    from gacer_tune.runtime import Module

Option = typer.Option
PEERS = ("onnxruntime",)


@dataclass(frozen=True)
class Options:
    folder: Folder
    inputs: Annotated[
        Path | None,
        Option(metavar="FILE.npz", help="Inputs, with keys TENANT/INPUT; random ones of --seed unless given."),
    ] = None
    outputs: Annotated[Path | None, Option(metavar="FILE.npz", help="Where to save outputs, TENANT/OUTPUT.")] = None
    seed: Annotated[int, Option(min=0, metavar="N", help="Of random inputs.")] = 0
    schedule: Annotated[
        str,
        Option(
            metavar="NAME",
            help="Which of the artifact's schedules: best, a baseline, or one of the choices front0, ...",
        ),
    ] = "best"
    compare: Annotated[
        str | None,
        Option(metavar="onnxruntime", help="Compare the outputs with this one's; exit code 3 if they differ."),
    ] = None
    models: Annotated[
        list[str] | None,
        Option("--models", metavar="TENANT=MODEL.onnx", help="The original model of a tenant, for --compare."),
    ] = None
    json: Json = False


@spread(Options)
def run(options: Options) -> None:
    """Run an artifact once; show its outputs and its time."""
    if options.compare not in (None, *PEERS):
        raise UserError(f"--compare: {options.compare!r} was given, allowed: {', '.join(PEERS)}")
    if options.models and not options.compare:
        raise UserError("--models: only of use with --compare onnxruntime")
    from gacer_tune.cli.arrays import read_arrays, write_arrays
    from gacer_tune.runtime import load

    module = load(options.folder)
    ports = {tenant: module.inputs(tenant) for tenant in module.tenants}
    inputs = read_arrays(options.inputs, ports) if options.inputs else samples(module, options.seed)
    if options.schedule.startswith("alone/") or options.schedule not in module.artifact.schedules:
        known = [name for name in module.artifact.schedules if not name.startswith("alone/")]
        raise UserError(f"--schedule: {options.schedule!r} was given, allowed: {', '.join(known)}")
    module.run(inputs, options.schedule)  # the first run starts the threads
    began = perf_counter()
    outputs = module.run(inputs, options.schedule)
    seconds = perf_counter() - began
    output = Output(options.json)
    done = tenants_done(module)
    document: dict[str, Any] = {"seconds": seconds, "tenants_s": done, "outputs": _show(outputs, output)}
    times = ", ".join(f"{tenant} {seconds_text(at_s)}" for tenant, at_s in done.items())
    output.say(f"one run, with copying inputs and outputs: {seconds_text(seconds)}; done: {times}")
    if options.outputs:
        write_arrays(options.outputs, outputs)
        output.say(f"outputs written: {options.outputs}")
    if options.compare:
        _compare(options, module, (inputs, outputs), (output, document))
    else:
        output.result(document)


def _show(outputs: Arrays, output: Output) -> dict[str, str]:
    """Print a row for each output; return their checksums."""
    from gacer_tune.cli.arrays import checksum

    made, sums = table("output", "type", "shape", "sha256"), {}
    for tenant, row in outputs.items():
        for name, array in row.items():
            key = f"{tenant}/{name}"
            sums[key] = checksum(array)
            made.add_row(printable(key), str(array.dtype), "x".join(map(str, array.shape)), sums[key])
    output.console().print(made)
    return sums


def samples(module: Module, seed: int) -> Arrays:
    """Random inputs for every tenant."""
    from gacer_tune.inputs import sample

    return {tenant.name: sample(tenant, seed) for tenant in module.workload.tenants}


def tenants_done(module: Module) -> dict[str, float]:
    """When each tenant was done in the last run, by its trace."""
    done = dict.fromkeys(module.tenants, 0.0)
    for tenant, _, _, _, _, end_s in module.trace():
        name = module.tenants[tenant]
        done[name] = max(done[name], end_s)
    return done


def _compare(
    options: Options, module: Module, arrays: tuple[Arrays, Mapping[str, Any]], told: tuple[Output, dict[str, Any]]
) -> None:
    from gacer_tune.bench import originals
    from gacer_tune.cli.compare import differences

    output, document = told
    recorded = module.artifact.manifest.get("tenants", [])
    found = differences(module, *arrays, originals.paths(options.models or [], module.tenants, recorded))
    made = table("against ONNX Runtime", "largest error", "")
    for row in found:
        verdict = "ok" if row.tolerable else "differs"
        made.add_row(printable(f"{row.tenant}/{row.output}"), f"{row.error:.2g}", verdict)
    output.console().print(made)
    output.say("errors are relative to the largest value of the output")
    differing = [row for row in found if not row.tolerable]
    output.result({**document, "compare": [asdict(row) for row in found], "differing": len(differing)})
    if differing:
        raise typer.Exit(MISMATCH)
