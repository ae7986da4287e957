"""gacer-tune bench: an artifact against other runtimes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gacer_tune.cli.codes import MISMATCH
from gacer_tune.cli.options import Folder, Json, spread
from gacer_tune.cli.output import Output, console_on, printable, table
from gacer_tune.cli.progress import PLAIN_EVERY_S
from gacer_tune.errors import UserError
from gacer_tune.report.units import seconds_text

if TYPE_CHECKING:
    from gacer_tune.bench.figures import Comparison, Line
    from gacer_tune.bench.rounds import Say
    from gacer_tune.runtime import Module

Option = typer.Option


@dataclass(frozen=True)
class Options:
    folder: Folder
    against: Annotated[
        str | None,
        Option(
            metavar="NAMES",
            help="Any of onnxruntime, openvino and tvm (Relax untuned, slow), with commas; the first two, where "
            "installed, unless given.",
        ),
    ] = None
    rounds: Annotated[int, Option(min=1, metavar="N", help="How often each is timed.")] = 20
    models: Annotated[
        list[str] | None,
        Option(
            "--models",
            metavar="TENANT=MODEL.onnx",
            help="The original model of a tenant; where `tune` found it unless given. May be given several times.",
        ),
    ] = None
    seed: Annotated[int, Option(min=0, metavar="N", help="Of the inputs and of the order of turns.")] = 0
    json: Json = False


@spread(Options)
def bench(options: Options) -> None:
    """Compare an artifact with other runtimes on this machine.

    Each runs the same models on the same inputs and cores: one model after the other with all cores, and all at once.
    First their results are compared, exit code 3 if they differ; then they are timed in turns. A ratio is the median
    over the rounds of the other's time over ours: above 1 ours is faster.

    An artifact for target cuda is compared with the baselines of its search: one stream, one stream for each model, a
    stream for each branch. The device times them, without copies of inputs and outputs.
    """
    from gacer_tune.runtime import load

    if options.against is not None:
        from gacer_tune.bench import peers

        peers.chosen(options.against)  # what is wrong with it is said before anything is loaded
    module = load(options.folder)
    output = Output(options.json)
    with _saying() as say:
        found = _compared(module, options, say)
    _show(found, output)
    output.result(found.document())
    if found.wrong:
        raise typer.Exit(MISMATCH)


def _compared(module: Module, options: Options, say: Say) -> Comparison:
    from gacer_tune.bench import baselines, compare, originals, peers

    if module.workload.target == "cuda":
        if options.against is not None:
            raise UserError(
                f"--against: {options.against} would run on the CPU, an artifact for target cuda is compared with the "
                "baselines of its search"
            )
        return baselines.compare(module, options.rounds, options.seed, say)
    names = peers.chosen(options.against)
    paths = originals.paths(options.models or [], module.tenants, module.artifact.manifest.get("tenants", []))
    return compare.compare(module, compare.Options(names, paths, options.rounds, options.seed), say)


@contextmanager
def _saying() -> Iterator[Say]:
    """Shows what goes on: one line on a terminal, else a line now and then.

    Written at once, not by a live display, whose thread would take time from what is measured.
    """
    if not sys.stderr.isatty():
        plain = console_on(stderr=True)
        last_s = -PLAIN_EVERY_S

        def now_and_then(text: str) -> None:
            nonlocal last_s
            if monotonic() - last_s >= PLAIN_EVERY_S:
                last_s = monotonic()
                plain.print(printable(text), soft_wrap=True)

        yield now_and_then
        return
    try:
        yield lambda text: _replace_line(printable(text))
    finally:
        _replace_line("")


def _replace_line(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


def _show(found: Comparison, output: Output) -> None:
    from gacer_tune.bench.others import warning

    output.console().print(lines_table(found.lines))
    for name, reason in found.skipped.items():
        output.say(f"{name} was left out, it cannot run {reason}")
    slow = [line.name for line in found.lines if line.rounds < found.rounds]
    if slow:
        output.say(f"far slower than ours, so timed in few rounds only: {', '.join(slow)}")
    for text in found.wrong:
        output.say(f"results differ from ours: {text}")
    if busy := warning(found.others):
        output.say(f"{busy}: compare again on a quiet machine")
    output.say(verdict(found.best_peer))


def lines_table(lines: tuple[Line, ...]) -> Table:
    made = table("", "median", "middle half", "fastest", "rounds", "ratio to ours", "p")
    for line in lines:
        times = (seconds_text(seconds) for seconds in (line.median_s, line.iqr_s, line.min_s))
        own = line is lines[0]
        ratio = ("", "") if own else (f"{line.ratio:.2f}", f"{line.p_value:.2g}")
        made.add_row(printable(line.name), *times, str(line.rounds), *ratio, style="bold" if own else None)
    return made


def verdict(best: Line) -> str:
    """One sentence on the best mode of the best peer, or on the best baseline of our own."""
    what = "baseline" if best.name.startswith("ours") else "peer"
    if best.ratio >= 1:
        return f"{best.ratio:.2f}x faster than the best {what} ({best.name}), p = {best.p_value:.2g}"
    return f"the best {what} ({best.name}) is {1 / best.ratio:.2f}x faster than ours"
