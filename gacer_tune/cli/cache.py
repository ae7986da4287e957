"""gacer-tune cache: compiled kernels and their times, kept between runs."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from gacer_tune.cli.codes import MISMATCH
from gacer_tune.cli.options import Json
from gacer_tune.cli.output import Output, printable, table
from gacer_tune.errors import UserError
from gacer_tune.report.units import clock_text, nbytes_text

app = typer.Typer(help="Show, check or shrink the cache of compiled kernels.", no_args_is_help=False)

Root = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="The cache; GACER_TUNE_CACHE or the user's cache folder unless given."),
]
_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_AGES_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@app.command("ls")
def show(cache: Root = None, as_json: Json = False) -> None:
    """List the entries, last used first."""
    from gacer_tune.store.cache import Cache, default_root

    output, root = Output(as_json), cache or default_root()
    entries = Cache(root).list()
    made = table("key", "kind", "size", "last used")
    now_s = time.time()
    for entry in entries:
        ago = clock_text(now_s - entry.used_ns / 1e9)
        made.add_row(entry.key[:16], printable(entry.path.suffix or "-"), nbytes_text(entry.nbytes), f"{ago} ago")
    total = sum(entry.nbytes for entry in entries)
    if entries:
        output.console().print(made)
    output.say(f"{root}: {len(entries)} entries, {nbytes_text(total)}")
    rows = [{"key": e.key, "path": e.path, "nbytes": e.nbytes, "used_s": e.used_ns / 1e9} for e in entries]
    output.result({"root": root, "entries": rows, "nbytes": total})


@app.command("verify")
def verify(cache: Root = None, as_json: Json = False) -> None:
    """Check every entry against its hash; damaged ones are set aside, and compiled again when needed. Exit code 3."""
    from gacer_tune.store.cache import Cache, default_root

    output, store = Output(as_json), Cache(cache or default_root())
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
    from gacer_tune.store.cache import Cache, default_root

    if max_size is None and max_age is None:
        raise UserError("cache gc: nothing to do, give --max-size, as in 2GB, or --max-age, as in 30d")
    nbytes = float("inf") if max_size is None else parse_size(max_size)
    age_s = float("inf") if max_age is None else parse_age(max_age)
    output, store = Output(as_json), Cache(cache or default_root())
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
