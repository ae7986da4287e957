"""gacer-tune inspect: what is in the models, or what an artifact does and when."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from gacer_tune.cli.kernels import inspect_kernels
from gacer_tune.cli.options import Batch, Json, Shapes, Target, spread
from gacer_tune.cli.output import Output, table
from gacer_tune.errors import UserError
from gacer_tune.report.units import seconds_text


@dataclass(frozen=True)
class Options:
    what: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...|OUT", help="ONNX files as for `tune`, or one folder that `tune` has written."),
    ]
    shape: Shapes = None
    batch: Batch = None
    target: Target = None
    overhead: Annotated[
        bool,
        typer.Option("--overhead", help="OUT only: run it sequentially and compare the time with that of its kernels."),
    ] = False
    kernels: Annotated[
        bool,
        typer.Option("--kernels", help="OUT only: run it and show how close each kernel comes to what the cores can."),
    ] = False
    demand: Annotated[
        bool,
        typer.Option("--demand", help="OUT only: show what share of the lanes each kernel can use, and for how long."),
    ] = False
    json: Json = False


@spread(Options)
def inspect(options: Options) -> None:
    """Show the ops of models, or the schedule of an artifact.

    For models: every op with its kernels, how many ways there are to compute it, and how much it computes and moves.
    For an artifact: its schedule in words, a timeline of its lanes, and how busy they are.
    """
    output, what = Output(options.json), options.what
    if len(what) == 1 and Path(what[0]).is_dir():
        _inspect_artifact(Path(what[0]), options, output)
        return
    for name in ("overhead", "kernels", "demand"):
        if getattr(options, name):
            raise UserError(f"--{name}: {what[0]} was given, allowed: one folder that tune has written")
    _inspect_models(what, options.shape or [], {"batch": options.batch, "target": options.target}, output)


def _inspect_models(models: list[str], shapes: list[str], options: dict[str, object], output: Output) -> None:
    from gacer_tune.cli.given import read_settings
    from gacer_tune.cli.ops import op_rows, ops_table, totals

    if options.get("target") == "cuda":
        options = {**options, "simulate": "h100"}  # what is in a model does not depend on the GPU that is there
    settings = read_settings(models, shapes, None, options)
    from gacer_tune.cli.progress import listening
    from gacer_tune.preparing import read_models
    from gacer_tune.targets import machine_of
    from gacer_tune.tenants import assemble

    machine = machine_of(settings)
    with listening() as listen:
        workload = assemble(read_models(settings, machine, listen), machine).workload
    document = []
    for tenant in workload.tenants:
        rows = op_rows(tenant)
        output.console().print(ops_table(tenant.name, rows))
        output.say(totals(tenant, rows))
        document.append({"name": tenant.name, "batch": tenant.batch, "ops": [asdict(row) for row in rows]})
    output.result({"tenants": document})


def _inspect_artifact(folder: Path, options: Options, output: Output) -> None:
    from gacer_tune.artifact import read_artifact
    from gacer_tune.cli.demand import demand_rows, demand_table
    from gacer_tune.cli.schedule_words import schedule_words
    from gacer_tune.cli.timeline_text import timeline_text
    from gacer_tune.report.track import simulated

    artifact = read_artifact(folder)
    schedule = artifact.schedules["best"]
    track = simulated("best", artifact.workload, schedule, artifact.profile)
    console = output.console()
    for line in schedule_words(artifact.workload, schedule):
        output.say(line)
    for line in timeline_text(track, console.width):
        output.say(line)
    busy = table("predicted", "busy")
    for lane, share in enumerate(track.busy):
        busy.add_row(f"lane {lane}", f"{share:.0%}")
    console.print(busy)
    found = _overhead(folder, output) if options.overhead else {}
    if options.kernels:
        found |= inspect_kernels(folder, output)
    if options.demand:
        rows = list(demand_rows(artifact))
        console.print(demand_table(rows, schedule.lanes))
        found |= {"demand": rows}
    output.result(
        {"schedule": schedule.to_json(), "predicted_s": track.end_s, "busy": track.busy, "lanes": track.lanes, **found}
    )


def _overhead(folder: Path, output: Output) -> dict[str, object]:
    """Run the sequential plan: what is not in its kernels is ours."""
    from gacer_tune.overhead import overhead

    cost = overhead(folder)
    output.say(
        f"sequential run: {seconds_text(cost.wall_s)}, its kernels {seconds_text(cost.kernels_s)}, so all else is "
        f"{cost.ratio - 1:.1%}; a hand-over between lanes takes {seconds_text(cost.handover_s)}"
    )
    return {"overhead": {**asdict(cost), "ratio": cost.ratio}}
