"""gacer-tune cost-model: how well predictions order plans that nobody has measured yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from gacer_tune.cli.options import Json
from gacer_tune.cli.output import Output, printable, table
from gacer_tune.errors import UserError

if TYPE_CHECKING:
    from gacer_tune.learning.evaluation import Figures, Row
    from gacer_tune.learning.samples import Samples

app = typer.Typer(help="How good the predictions of the cost model are.")

HeldOut = Literal["plans", "mix", "both"]
_COLUMNS = {
    "pairwise": "pairs",
    "near": "near",
    "peak1": "peak@1",
    "peak5": "peak@5",
    "recall": "top 10",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "mape": "error",
}
_LEGEND = (
    "In percent, the timeline alone / with the learned model, on plans that it has not seen. pairs: of two plans "
    "whose measured times differ by more than the noise, how often the faster one is predicted faster; near: the same "
    "among plans within 15 % of the fastest. peak@k: time of the fastest plan over that of the fastest among the k "
    "predicted fastest. top 10: how many of the 10 fastest are among the 10 predicted fastest. Spearman, Kendall: rank "
    "correlation over all plans, noise included. error: of the predicted seconds, on average. 100 is best, 0 for error."
)


@app.callback()
def start() -> None:
    """How good the predictions of the cost model are."""


@app.command("eval")
def evaluate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[OUT|JOURNAL|RECORDING]...",
            help="Folders that `tune` has written, journals in them, or recordings of trials; what earlier searches "
            "have left in the cache unless given.",
        ),
    ] = None,
    held_out: Annotated[
        str,
        typer.Option(
            "--held-out",
            metavar="plans|mix|both",
            help="Predict plans by others of the same models (five folds), by those of other mixes only, or both.",
        ),
    ] = "both",
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Where tune keeps what it learns.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare predictions with measurements, for plans and for mixes of models that the model has not seen."""
    from gacer_tune.learning.evaluation import evaluate as judge

    if held_out not in ("plans", "mix", "both"):
        raise UserError(f"--held-out {held_out}: allowed: plans, mix, both")
    groups = _samples(paths or [], cache)
    if held_out == "mix" and len(groups) < 2:
        raise UserError(f"--held-out mix: trials of {len(groups)} mix were given, at least 2 are needed")
    rows, output = judge(groups), Output(as_json)
    if held_out != "mix":
        _show(output, "Plans held out, the model has seen others of the same mix", rows, lambda row: row.known)
    if held_out != "plans" and len(rows) > 1:
        _show(output, "Mixes held out, the model has seen other mixes only", rows, lambda row: row.unseen)
    output.say(_LEGEND)
    output.say(_left_out(rows))
    output.result({"mixes": rows, "mean": _means(rows)})


def _samples(paths: Sequence[Path], cache: Path | None) -> list[Samples]:
    """Of each path, or of the cache; the latest of those of equal workloads."""
    from gacer_tune.learning.sources import read_samples, remembered

    found = [read_samples(path) for path in paths] if paths else remembered(cache)
    if not found:
        raise UserError("no trials: name folders that tune has written, or tune first and its trials are remembered")
    return list({samples.group: samples for samples in found}.values())


def _show(output: Output, title: str, rows: Sequence[Row], learned: Callable[[Row], Figures | None]) -> None:
    from gacer_tune.learning.evaluation import mean

    made = table("mix", "plans", *_COLUMNS.values(), title=title)
    told = [(row, figures) for row in rows if (figures := learned(row)) is not None]
    for row, figures in told:
        _add(made, row.name, str(row.plans), row.timeline, figures)
    if len(told) > 1:
        both = mean([row.timeline for row, _ in told]), mean([figures for _, figures in told])
        _add(made, "mean", str(sum(row.plans for row, _ in told)), *both)
    output.console().print(made)
    few = [row.name for row in rows if learned(row) is None]
    if few:
        output.say(f"too few plans to hold some out: {', '.join(few)}")


def _add(made: Table, name: str, plans: str, timeline: Figures, learned: Figures) -> None:
    cells = [f"{100 * getattr(timeline, field):.0f} / {100 * getattr(learned, field):.0f}" for field in _COLUMNS]
    made.add_row(printable(name), plans, *cells)


def _left_out(rows: Sequence[Row]) -> str:
    plans = sum(row.left_out for row in rows)
    share = sum(row.pairs_within_noise for row in rows) / len(rows)
    return (
        f"Left out: {plans} plans whose measurement is not steady, and {share:.0%} of the pairs, "
        "whose measured times differ by no more than the noise."
    )


def _means(rows: Sequence[Row]) -> dict[str, Figures]:
    from gacer_tune.learning.evaluation import Figures, mean

    assert set(_COLUMNS) == {field.name for field in fields(Figures)}
    columns = {name: [getattr(row, name) for row in rows] for name in ("timeline", "known", "unseen")}
    found = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {name: mean(values) for name, values in found.items() if values}
