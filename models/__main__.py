"""`python -m models list` and `python -m models write NAME [NAME ...] --out DIR [--batch N]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from models import MODELS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models", description="Builds ONNX models with random weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the name of every model and what it is")
    write = commands.add_parser("write", help="write DIR/NAME.onnx for every NAME and print the paths")
    write.add_argument("names", nargs="+", metavar="NAME")
    write.add_argument("--out", type=Path, required=True, metavar="DIR", help="created if it does not exist")
    write.add_argument("--batch", type=int, default=1, metavar="N")
    return parser


def _fault(names: Sequence[str], batch: int) -> str | None:
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        return f"unknown model {', '.join(map(repr, unknown))}: allowed are {', '.join(MODELS)}"
    if batch < 1:
        return f"--batch {batch}: at least 1"
    return None


def _publish(path: Path, content: bytes) -> None:
    """A reader sees the old file or the whole new one: written beside it, then renamed over it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(names: Sequence[str], out: Path, batch: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(names):
        path = out / f"{name}.onnx"
        _publish(path, MODELS[name](batch=batch).SerializeToString())
        sys.stdout.write(f"{path}\n")


def _list() -> None:
    longest = max(map(len, MODELS))
    for name, builder in MODELS.items():
        summary = (builder.__doc__ or "").splitlines()[0]
        sys.stdout.write(f"{name:<{longest}}  {summary}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 after one line on stderr about what was given."""
    given = _parser().parse_args(arguments)
    if given.command == "list":
        _list()
        return 0
    fault = _fault(given.names, given.batch)
    if fault is None:
        try:
            _write(given.names, given.out, given.batch)
        except OSError as error:
            fault = f"--out {given.out}: {error.strerror or error}"
    if fault is None:
        return 0
    sys.stderr.write(f"{fault}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
