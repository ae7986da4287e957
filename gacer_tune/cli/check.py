"""gacer-tune check: did an artifact change, and did it get worse?"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gacer_tune.cli.codes import MISMATCH
from gacer_tune.cli.options import Folder, Json, spread
from gacer_tune.cli.output import Output, console_on, printable, table
from gacer_tune.errors import UserError

if TYPE_CHECKING:
    from gacer_tune import regression
    from gacer_tune.regression.check import Check

Option = typer.Option
SUMMARY = "GITHUB_STEP_SUMMARY"
_STDOUT = "-"
_PERCENT = re.compile(r"(\d{1,4}(?:\.\d{1,6})?) ?%")
_SHARE = re.compile(r"0?\.\d{1,8}")


@dataclass(frozen=True)
class Options:
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="Artifact to compare with, as of main.")]
    folder: Folder
    decisions_only: Annotated[
        bool, Option("--decisions-only", help="Run nothing: compare what was decided, on any machine.")
    ] = False
    require_times: Annotated[
        bool, Option("--require-times", help="Exit code 2 where times cannot be compared, rather than do without.")
    ] = False
    pairs: Annotated[int, Option(metavar="N", help="How often both are timed, in turns; at least 5.")] = 30
    threshold: Annotated[
        str, Option(metavar="PERCENT", help="A difference of times up to this is noise, as in 5%.")
    ] = "5%"
    strict_decisions: Annotated[bool, Option("--strict-decisions", help="Changed decisions are a regression, too.")] = (
        False
    )
    seed: Annotated[int, Option(min=0, metavar="N", help="Of the random inputs.")] = 0
    markdown: Annotated[
        str | None, Option(metavar="FILE", help="Write a summary for a pull request; - for standard output.")
    ] = None
    github_summary: Annotated[
        bool, Option("--github-summary", help=f"Append that summary to the file that {SUMMARY} names.")
    ] = False
    junit: Annotated[Path | None, Option(metavar="FILE", help="Write a test report as JUnit XML.")] = None
    benchmark_json: Annotated[
        Path | None,
        Option(metavar="FILE", help="Write times for github-action-benchmark, format customSmallerIsBetter."),
    ] = None
    json: Json = False


@spread(Options)
def check(options: Options) -> None:
    """Compare an artifact with an earlier one, for regressions.

    Were decisions changed, are results the same, did times get worse?

    Times are measured here and now, both artifacts in turns, so what the machine does meanwhile happens to both. A
    regression, exit code 3, is a run slower than --threshold and slower by more than chance (one-sided Wilcoxon test,
    p < 0.05), or another result for the same inputs. Artifacts of other models, or tuned for another machine, are
    compared by their decisions alone.
    """
    from gacer_tune.regression.check import check as compare

    asked = _asked(options)
    _require_places(options)
    if options.markdown == _STDOUT and options.json:
        raise UserError("--markdown - and --json: both want standard output, name a file for one of them")
    found = compare(options.baseline, options.folder, asked, lambda text: _say(printable(text)))
    output = Output(options.json or options.markdown == _STDOUT)
    _show(found, output)
    _write(found, options, output)
    if options.json:
        output.result(found.document())
    if found.regressed:
        raise typer.Exit(MISMATCH)


def _asked(options: Options) -> regression.check.Options:
    """Refuses what contradicts itself."""
    from gacer_tune.regression.check import Options as Asked
    from gacer_tune.regression.times import require_pairs

    if options.decisions_only and (options.require_times or options.benchmark_json):
        other = "--require-times" if options.require_times else "--benchmark-json"
        raise UserError(f"--decisions-only and {other}: the one measures no times, the other needs them")
    require_pairs(options.pairs)
    needed = options.require_times or options.benchmark_json is not None
    return Asked(
        times="no" if options.decisions_only else "required" if needed else "possible",
        pairs=options.pairs,
        threshold=parse_threshold(options.threshold),
        strict=options.strict_decisions,
        seed=options.seed,
    )


def parse_threshold(text: str) -> float:
    """The share that `5%` or `0.05` says. Raises UserError."""
    percent = _PERCENT.fullmatch(text)
    if percent is not None:
        return float(percent[1]) / 100
    if _SHARE.fullmatch(text) is not None:
        return float(text)
    raise UserError(f"--threshold: {text!r} was given, allowed: a percentage as in 5%, or a share as in 0.05")


def _require_places(options: Options, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse now what could not be written after minutes of measuring."""
    markdown = None if options.markdown in (None, _STDOUT) else Path(options.markdown or "")
    for path in (markdown, options.junit, options.benchmark_json):
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError(f"{path}: cannot be written: {path.absolute().parent} is no folder")
        if path is not None and path.is_dir():
            raise UserError(f"{path}: cannot be written: it is a folder")
    if options.github_summary and not environ.get(SUMMARY):
        raise UserError(f"--github-summary: {SUMMARY} is not set; outside GitHub Actions use --markdown FILE")


def _say(text: str) -> None:
    console_on(stderr=True).print(text, soft_wrap=True)


def _show(found: Check, output: Output) -> None:
    from gacer_tune.regression.wording import counted, headline, notes

    if found.rows:
        output.console().print(times_table(found))
    for title, areas in (
        ("decisions changed", ("schedule",)),
        ("workload", ("workload",)),
        ("device", ("device",)),
        ("toolchain", ("toolchain",)),
    ):
        changes = found.of(*areas)  # type: ignore[arg-type]
        if changes:
            output.say(f"{title}: {counted(len(changes), 'difference')}")
        for change in changes:
            output.say(f"  {change.text}")
    for row in found.wrong:
        output.say(f"output differs: {row.tenant}/{row.output}, by {row.error:.2g} of its largest value")
    for note in notes(found):
        output.say(note)
    output.say(headline(found))


def times_table(found: Check) -> Table:
    """Baseline and now for each tenant and all together; the row that decides is bold."""
    from gacer_tune.regression.wording import ratio_text, times_text

    made = table("until done", "baseline", "now", "ratio (middle half)", "p slower", "")
    for row in found.rows:
        style = "bold" if row.decides else None
        made.add_row(
            printable(row.name), *times_text(row), ratio_text(row), f"{row.p_slower:.2g}", row.verdict, style=style
        )
    return made


def _write(found: Check, options: Options, output: Output) -> None:
    from gacer_tune.regression.benchmark_json import benchmark_json
    from gacer_tune.regression.junit import junit
    from gacer_tune.regression.markdown import markdown
    from gacer_tune.store.durable import refusing

    summary = markdown(found)
    if options.markdown == _STDOUT:
        sys.stdout.write(summary)
    files: dict[Path | None, bytes] = {
        options.junit: junit(found),
        options.benchmark_json: benchmark_json(found.rows).encode("utf-8"),
    }
    if options.markdown not in (None, _STDOUT):
        files[Path(options.markdown or "")] = summary.encode("utf-8")
    for path, content in files.items():
        if path is not None:
            with refusing(path):
                path.write_bytes(content)
            output.say(f"written: {path}")
    if options.github_summary:
        path = Path(os.environ[SUMMARY])
        with refusing(path), path.open("a", encoding="utf-8") as file:
            file.write(summary)
