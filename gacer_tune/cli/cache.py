"""gacer-tune cache: compiled kernels, their times, and the schedules found so far, kept between runs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from gacer_tune.cli.codes import MISMATCH
from gacer_tune.cli.options import Json
from gacer_tune.cli.output import Output, printable, table
from gacer_tune.errors import UserError
from gacer_tune.report.units import clock_text, nbytes_text, seconds_text

if TYPE_CHECKING:
    from gacer_tune.metaschedule.records import KernelRecord
    from gacer_tune.store.exchange import Arrival
    from gacer_tune.store.fingerprint import Fingerprint
    from gacer_tune.store.schedules import Record

app = typer.Typer(
    help="Kernels and schedules that are kept: show, check, carry.",
    no_args_is_help=False,
)

Root = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="The cache; GACER_TUNE_CACHE or the user's cache folder unless given."),
]
_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_AGES_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@app.command("ls")
def show(cache: Root = None, as_json: Json = False) -> None:
    """List the entries, last used first, then the schedules among them, latest first."""
    from gacer_tune.store.cache import open_cache
    from gacer_tune.store.schedules import records

    output, store = Output(as_json), open_cache(cache)
    entries = store.list()
    made = table("key", "kind", "size", "last used")
    now_s = time.time()
    for entry in entries:
        ago = clock_text(now_s - entry.used_ns / 1e9)
        made.add_row(entry.key[:16], printable(entry.path.suffix or "-"), nbytes_text(entry.nbytes), f"{ago} ago")
    total = sum(entry.nbytes for entry in entries)
    if entries:
        output.console().print(made)
    kept = [record for _, record in records(store)]
    if kept:
        output.console().print(schedules_table(kept, now_s))
    output.say(f"{store.root}: {len(entries)} entries, {nbytes_text(total)}")
    rows = [{"key": e.key, "path": e.path, "nbytes": e.nbytes, "used_s": e.used_ns / 1e9} for e in entries]
    schedules = [described(record) for record in kept]
    output.result({"root": store.root, "entries": rows, "nbytes": total, "schedules": schedules})


def schedules_table(kept: list[Record], now_s: float) -> Table:
    """Which models, where, when, and how good."""
    made = table("schedule", "models", "device", "lanes", "objective", "best", "gain", "found", texts=3)
    for record in kept:
        result = record.result
        gain = f"{result.baseline_s / result.best_s:.2f}x" if result.accepted else "none"
        ago = f"{clock_text(now_s - record.made_s)} ago"
        texts = (record.key[:16], printable(", ".join(record.tenants)), printable(_device(record)))
        made.add_row(*texts, str(record.schedule.lanes), record.objective, seconds_text(result.best_s), gain, ago)
    made.columns[1].no_wrap = made.columns[2].no_wrap = False
    return made


def described(record: Record) -> dict[str, Any]:
    """A record for --json: all but the workload, the profile and the schedules themselves."""
    return {
        "key": record.key,
        "tenants": record.tenants,
        "models": [tenant.model for tenant in record.workload.tenants],
        "batches": [tenant.batch for tenant in record.workload.tenants],
        "fingerprint": record.fingerprint,
        "gpu": record.gpu,
        "lanes": record.schedule.lanes,
        "objective": record.objective,
        "result": record.result,
        "made_s": record.made_s,
    }


def _device(record: Record) -> str:
    """`NVIDIA H100, fp16`, or the processor; what another version has written is shown as it is."""
    host = _host(record.fingerprint)
    if not record.gpu:
        return host
    try:
        found = json.loads(record.gpu)
        gpu = found.get("gpu", host)
        return f"{gpu['name'] if isinstance(gpu, dict) else gpu}, {found['precision']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return record.gpu


def _host(fingerprint: Fingerprint) -> str:
    return f"{fingerprint.cpu}, {fingerprint.isa}, {fingerprint.cores} cores"


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Zip file to write.")],
    workload: Annotated[
        list[str] | None,
        typer.Option(
            "--workload",
            metavar="KEY|NAMES",
            help="Only this schedule, as `cache ls` shows it: its key or the beginning of it, or its models, as in "
            "det,seg. May be given several times; all unless given.",
        ),
    ] = None,
    cache: Root = None,
    as_json: Json = False,
) -> None:
    """Write the schedules of the cache to one file: decisions, kernel times and trials, never code.

    What MetaSchedule has found for their kernels goes with them.
    """
    from gacer_tune.metaschedule.records import records as searched_kernels
    from gacer_tune.store import exchange
    from gacer_tune.store.cache import open_cache
    from gacer_tune.store.schedules import records

    output, store = Output(as_json), open_cache(cache)
    kept = [record for _, record in records(store)]
    if not kept:
        raise UserError(f"{store.root}: no schedules to export; `gacer-tune tune` puts them there")
    chosen = _chosen(kept, workload) if workload else kept
    searched = [record for record in searched_kernels(store) if not workload or _serves(record, chosen)]
    nbytes = exchange.export(chosen, file, searched)
    output.console().print(schedules_table(chosen, time.time()))
    also = f", {len(searched)} kernels searched by MetaSchedule" if searched else ""
    output.say(f"written: {file}, {len(chosen)} schedules{also}, {nbytes_text(nbytes)}")
    schedules = [described(record) for record in chosen]
    output.result({"written": file, "nbytes": nbytes, "schedules": schedules, "kernels": [r.key for r in searched]})


def _serves(kernel: KernelRecord, chosen: list[Record]) -> bool:
    """Whether any of the schedules may call the fastest variant of the kernel."""
    if kernel.best is None:
        return False
    name = kernel.source(kernel.best).name
    tenants = [tenant for record in chosen for tenant in record.workload.tenants]
    return any(name == v.function for tenant in tenants for k in tenant.kernels for v in k.variants)


def _chosen(kept: list[Record], asked: list[str]) -> list[Record]:
    """Those that any of the texts means. Raises UserError for a text that means none."""
    found: dict[str, Record] = {}
    for text in asked:
        names = tuple(name.strip() for name in text.split(","))
        meant = [record for record in kept if record.key.startswith(text) or record.tenants == names]
        if not text or not meant:
            known = "; ".join(f"{record.key[:16]} ({','.join(record.tenants)})" for record in kept)
            raise UserError(f"--workload {text!r}: no such schedule, the cache has {known}")
        found |= {record.key: record for record in meant}
    return list(found.values())


@app.command("import")
def take(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that `cache export` has written.")],
    cache: Root = None,
    as_json: Json = False,
) -> None:
    """Take the schedules of a file into the cache, but none that is older or slower than what is there.

    The next `gacer-tune tune` of the same models measures them first; on another machine they are a place to start
    from. Exit code 3 if a schedule in the file is not valid.
    """
    from gacer_tune.store import exchange
    from gacer_tune.store.cache import open_cache

    output, store = Output(as_json), open_cache(cache)
    arrivals = exchange.take(store, file)
    if arrivals:
        output.console().print(_arrivals_table(arrivals))
    counts = {verdict: sum(a.verdict == verdict for a in arrivals) for verdict in ("taken", "refused", "invalid")}
    output.say(f"{store.root}: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}")
    rows = [{"name": a.name, "verdict": a.verdict, "reason": a.reason} for a in arrivals]
    output.result({"root": store.root, **counts, "schedules": rows})
    if counts["invalid"]:
        raise typer.Exit(MISMATCH)


def _arrivals_table(arrivals: list[Arrival]) -> Table:
    from gacer_tune.kernels.rules import rule

    made = table("schedule", "models", "device", "verdict", "why", texts=5)
    for arrival in arrivals:
        record = arrival.record
        models, device = (", ".join(record.tenants), _device(record)) if record else ("-", "-")
        if arrival.kernel is not None:
            models, device = f"kernel {rule(arrival.kernel.spec)}", _host(arrival.kernel.fingerprint)
        key = arrival.name.partition("/")[2][:16]
        made.add_row(key, printable(models), printable(device), arrival.verdict, printable(arrival.reason))
    for column in made.columns:
        column.no_wrap = False
    return made


@app.command("verify")
def verify(cache: Root = None, as_json: Json = False) -> None:
    """Check every entry against its hash; damaged ones are set aside, and compiled again when needed. Exit code 3."""
    from gacer_tune.store.cache import open_cache

    output, store = Output(as_json), open_cache(cache)
    count = len(store.list())
    damaged = store.verify()
    for entry in damaged:
        output.say(f"damaged, set aside: {entry.path.name}")
    output.say(f"{store.root}: {count} entries, {len(damaged)} damaged")
    output.result({"root": store.root, "entries": count, "damaged": [entry.path.name for entry in damaged]})
    if damaged:
        raise typer.Exit(MISMATCH)


@app.command("gc")
def shrink(
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Keep at most this much, as in 2GB.")] = None,
    max_age: Annotated[str | None, typer.Option(metavar="AGE", help="Keep what was used within, as in 30d.")] = None,
    cache: Root = None,
    as_json: Json = False,
) -> None:
    """Remove what has not been used for longest."""
    from gacer_tune.store.cache import open_cache

    if max_size is None and max_age is None:
        raise UserError("cache gc: nothing to do, give --max-size, as in 2GB, or --max-age, as in 30d")
    nbytes = float("inf") if max_size is None else parse_size(max_size)
    age_s = float("inf") if max_age is None else parse_age(max_age)
    output, store = Output(as_json), open_cache(cache)
    removed = store.gc(nbytes, age_s)
    freed = sum(entry.nbytes for entry in removed)
    output.say(f"{store.root}: {len(removed)} entries removed, {nbytes_text(freed)}")
    output.result({"root": store.root, "removed": len(removed), "nbytes": freed})


def parse_size(text: str) -> float:
    """Bytes of `500MB` or `2.5GB`. Raises UserError."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?) ?([A-Za-z]*)", text)
    if found is None or found[2] not in _UNITS:
        raise UserError(f"--max-size: {text!r} was given, allowed: a size as in 500MB, 2GB")
    return float(found[1]) * _UNITS[found[2]]


def parse_age(text: str) -> float:
    """Seconds of `12h` or `30d`. Raises UserError."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([smhd])", text)
    if found is None:
        raise UserError(f"--max-age: {text!r} was given, allowed: an age as in 30d, 12h, 90m")
    return float(found[1]) * _AGES_S[found[2]]
