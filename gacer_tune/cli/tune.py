"""gacer-tune tune: search for the fastest way to run the models together, and write it."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.table import Table

from gacer_tune.cli.codes import INTERRUPTED
from gacer_tune.cli.effort import Effort
from gacer_tune.cli.options import Batch, Json, Precision, Shapes, Simulate, Target, spread
from gacer_tune.cli.output import Output, printable, table
from gacer_tune.cli.progress import interruptible, listening
from gacer_tune.report.units import clock_text, interval_text, seconds_text
from gacer_tune.report.verdict import Gain, verdict, words
from gacer_tune.search.sizes import Sized, sizes_text

if TYPE_CHECKING:
    from gacer_tune.settings import Settings
    from gacer_tune.tuning import Summary

Option = typer.Option
Text: TypeAlias = str | None
Count: TypeAlias = int | None
Folder: TypeAlias = Path | None
Flag: TypeAlias = bool | None


@dataclass(frozen=True)
class Options:
    """What `tune` can be given. None: not given, the YAML file or the default decides."""

    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="ONNX files, each as [NAME=]PATH[:batch=N][:instances=N][:weight=X][:slo_ms=X], as in "
            "det=yolo.onnx:batch=4. A file given twice runs twice, with one set of weights. Where N is a range, "
            "as in batch=1..8, the sizes of the highest rate are found first.",
        ),
    ] = None
    config: Annotated[Folder, Option("-c", "--config", metavar="FILE", help="Models and options as YAML.")] = None
    target: Target = None
    precision: Precision = None
    simulate: Simulate = None
    lanes: Annotated[
        Count,
        Option(metavar="N", help="Cores to use, all of this process unless given; on a GPU streams, two for a model."),
    ] = None
    budget: Annotated[Text, Option(metavar="TIME", help="Time to search for, as in 90s, 2m, 1h; else 120s.")] = None
    trials: Annotated[Count, Option(metavar="N", help="Stop the search after so many schedules.")] = None
    strategy: Annotated[
        Text, Option(metavar="NAME", help="How to search: evolve (unless given), coordinate, random or exhaustive.")
    ] = None
    objective: Annotated[
        Text,
        Option(
            metavar="NAME",
            help="What to make small: makespan (until all are done; unless given), throughput (mean time of the "
            "tenants by weight and batch), slo (makespan, and 95 % of the runs of each tenant within its slo_ms), or "
            "fairness (the largest slow-down of a tenant against running alone).",
        ),
    ] = None
    only: Annotated[Text, Option(metavar="spatial|temporal", help="Vary only where work runs, or only when.")] = None
    shares: Annotated[
        Flag,
        Option(
            "--shares/--no-shares",
            help="On a GPU: search for shares of it, too, so that no large kernel keeps a small one waiting; off "
            "unless given.",
        ),
    ] = None
    seed: Annotated[Count, Option(metavar="N", help="Of everything that is random; 0 unless given.")] = None
    shape: Shapes = None
    batch: Batch = None
    out: Annotated[Folder, Option("-o", "--out", metavar="DIR", help="Folder to write; out unless given.")] = None
    resume: Annotated[Flag, Option("--resume", help="Go on with the trials already in the folder.")] = None
    dry_run: Annotated[Flag, Option("--dry-run", help="Read the models, say what would be done, stop.")] = None
    early_stop: Annotated[
        Flag,
        Option("--early-stop/--no-early-stop", help="Stop when going on gains less than the noise; on unless given."),
    ] = None
    warm_start: Annotated[
        Flag,
        Option("--warm-start/--no-warm-start", help="Use what earlier searches found and learned; on unless given."),
    ] = None
    kernels: Annotated[
        Text,
        Option(
            metavar="own|metaschedule",
            help="Variants to choose from: our own (unless given), or one more for each heavy convolution and product, "
            "the fastest that TVM's MetaSchedule finds. What it has found is kept and not searched again.",
        ),
    ] = None
    kernel_trials: Annotated[
        Count, Option(metavar="N", help="Schedules that MetaSchedule tries for each kernel; 64 unless given.")
    ] = None
    cache: Annotated[Folder, Option(metavar="DIR", help="Folder of compiled kernels and their times.")] = None
    json: Json = False


@spread(Options)
def tune(options: Options) -> None:
    """Find the fastest way to run models together, and write it.

    Measures the usual ways first (one model after the other, one core for each), then searches until the budget is
    spent. What is written is never slower than the best of the usual ways. Ctrl-C once ends the search early and
    writes the best so far; twice stops at once.

    All options can stand in the YAML file, too (dry_run for --dry-run, shapes of a tenant for --shape); paths in it
    are relative to it:

        tenants: [det.onnx, {path: seg.onnx, batch: 2, slo_ms: 30}]

        budget: 2m
    """
    from gacer_tune.cli.given import read_settings

    names = (
        "target", "precision", "simulate", "lanes", "trials", "strategy", "objective", "only", "shares", "seed",
        "batch", "out", "resume", "dry_run", "early_stop", "warm_start", "kernels", "kernel_trials",
    )  # fmt: skip
    given = {name: getattr(options, name) for name in (*names, "cache")} | {"budget_s": options.budget}
    settings = read_settings(options.models or (), options.shape or (), options.config, given)
    _require_lanes(settings)
    output = Output(options.json)
    if settings.dry_run:
        _show_plan(settings, output)
        return
    from gacer_tune.tuning import tune as tune_settings

    try:
        with interruptible() as stop, listening() as listen:
            effort = Effort(listen)
            summary = tune_settings(settings, effort, stop)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted: no artifact was written; --resume goes on with the trials in {settings.out}\n")
        raise typer.Exit(INTERRUPTED) from None
    searched = _metaschedule(summary) if settings.kernels == "metaschedule" else None
    notes = [effort.text(), _about_metaschedule(searched), unused_precision(settings)]
    _show(summary, [note for note in notes if note], output)
    found = {} if searched is None else {"metaschedule": searched}
    output.result({**asdict(summary), "interrupted": stop.is_set(), "preparation": effort.document(), **found})
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)


def _require_lanes(settings: Settings) -> None:
    """Refuse now what would be refused after the models have been read."""
    if settings.lanes is None:
        return
    from gacer_tune.targets import lanes_of

    lanes_of(settings)


def _show_plan(settings: Settings, output: Output) -> None:
    from gacer_tune.dry_run import plan_dry
    from gacer_tune.instances import groups

    with listening() as listen:
        plan = plan_dry(settings, listen)
    output.say(
        f"{plan.tenants} tenants with {plan.ops} ops in {plan.kernels} kernels; {plan.functions_to_compile} functions "
        f"are still to be compiled. The search would have {plan.lanes} lanes and {clock_text(plan.budget_s)}."
    )
    if among := groups(settings.tenants):
        names = ", ".join(group.name for group in among)
        output.say(
            f"Before it, sizes of {names} would be tried, beginning with the least ones, which these figures have."
        )
    if settings.kernels == "metaschedule":
        output.say(
            f"Before it, MetaSchedule would search {plan.kernels_to_search} kernels until each has had "
            f"{settings.kernel_trials} trials, {plan.kernel_trials} in all: about {clock_text(plan.search_s)}, at "
            f"{seconds_text(plan.search_s / max(plan.kernel_trials, 1))} a trial on two quiet cores."
        )
    output.say("Nothing was compiled, measured or written.")
    output.result({"dry_run": True, **asdict(plan)})


def unused_precision(settings: Settings) -> str:
    """What to ask for, where this processor has a precision that is much faster and nobody chose one; else nothing."""
    from gacer_tune.executor import amx

    if settings.target != "cpu" or settings.precision is not None or settings.kernels == "metaschedule":
        return ""
    if amx.missing():
        return ""
    return "this processor multiplies bfloat16 by tiles (AMX): --precision bf16 is usually two to three times as fast"


def _metaschedule(summary: Summary) -> dict[str, int]:
    """For how many kernels of how many its variants were worth keeping, and are used."""
    from gacer_tune.artifact import read_artifact
    from gacer_tune.metaschedule.variants import chosen

    artifact = read_artifact(summary.artifact)
    kept, used = chosen(artifact.workload, artifact.schedules["best"].variants)
    return {"kernels": sum(len(tenant.kernels) for tenant in artifact.workload.tenants), "kept": kept, "used": used}


def _about_metaschedule(searched: dict[str, int] | None) -> str:
    if searched is None:
        return ""
    return (
        f"MetaSchedule's variants were worth keeping for {searched['kept']} of {searched['kernels']} kernels, and are "
        f"used for {searched['used']}"
    )


def _show(summary: Summary, notes: list[str], output: Output) -> None:
    console = output.console()
    if summary.sizes is not None:
        console.print(sizes_table(summary.sizes))
        output.say(
            f"sizes: {sizes_text(summary.sizes.names, summary.sizes.chosen)}, {summary.sizes.gain:.2f}x the rate."
        )
    console.print(
        gains([Gain(r.name, r.sequential_s, r.lane_per_tenant_s, r.tuned_s, r.breadth_first_s) for r in summary.rows])
    )
    output.say(f"{verdict(summary)}.")
    if summary.started:
        output.say(f"the search began with {summary.started}.")
    output.say(f"what was written takes {seconds_text(summary.best_s)}{interval_text(summary.interval_s)}.")
    for note in notes:
        output.say(f"{note}.")
    output.say(
        f"{summary.trials} trials, {summary.failed_trials} failed, in {clock_text(summary.seconds_spent)}; the search "
        f"ended: {summary.stopped}. Written:"
    )
    for path in summary.files:
        output.say(f"  {path}")


def sizes_table(found: Sized) -> Table:
    """Every size that was measured, and its rate over that of the least ones."""
    made = table("batch x instances", "fastest usual way", "a round", "rate", texts=2)
    for probe in found.probes:
        style = "bold" if probe.sizes == found.chosen else None
        cells = (printable(sizes_text(found.names, probe.sizes)), words(probe.plan), seconds_text(probe.round_s))
        made.add_row(*cells, printable(probe.outcome), style=style)
    return made


def gains(rows: list[Gain]) -> Table:
    """When each tenant is done, and in the last row all of them."""
    made: Any = table("until done", "sequential", "lane per tenant", "breadth first", "tuned", "gain")
    for number, row in enumerate(rows):
        times = (seconds_text(s) for s in (row.sequential_s, row.lane_per_tenant_s, row.breadth_first_s, row.tuned_s))
        last = number == len(rows) - 1
        made.add_row(printable(row.name), *times, f"{row.gain:.2f}x", style="bold" if last else None)
    return made  # type: ignore[no-any-return]
