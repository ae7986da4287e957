"""`python -m tests.bench`: tunes and compares a fixed set of models and mixes, and writes docs/benchmarks.md.

Every finished entry is a line of build/bench.jsonl at once, so an interrupted run loses only the entry in flight, and
`--render` writes the page from what is there.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gacer_tune.settings import PRECISIONS
from gacer_tune.store.journal import Journal
from models import MODELS
from tests.bench.chart import chart
from tests.bench.quantize import quantized
from tests.bench.records import newest
from tests.bench.render import CHART, markdown
from tests.bench.sets import SETS, entries, model_of

ROOT = Path(__file__).parent.parent.parent
DIFFERENT = 3  # exit code of `gacer-tune bench` for results that differ
ENTRY_S = 3600.0

Run = Callable[[Sequence[str]], Any]


class FailedError(Exception):
    """A command failed; the message is the last line it wrote."""


@dataclass(frozen=True, slots=True)
class Bench:
    """work: folder of models, artifacts, cache and results; run: carries out a gacer-tune command, returns its JSON."""

    work: Path
    budget: str
    rounds: int
    against: str
    command: str
    run: Run
    precision: str = "fp32"

    def entry(self, kind: str, name: str) -> dict[str, Any]:
        """Tune and compare one entry; the record of it."""
        out = self.work / "bench" / name
        tune = ["tune", *(str(self.model(one)) for one in name.split("+")), "--out", str(out), "--budget", self.budget]
        tune += [] if self.precision == "fp32" else ["--precision", self.precision]
        compare = ["bench", str(out), "--against", self.against, "--rounds", str(self.rounds), "--json"]
        head = {"set": kind, "name": name, "command": self.command, "budget": self.budget}
        try:
            tuned = self.run([*tune, "--cache", str(self.work / "cache"), "--json"])
            kept = {key: tuned[key] for key in ("speedup", "p_value", "accepted", "baseline", "trials")}
            found: dict[str, Any] = {"tuned": kept, "bench": self.run(compare)}
        except FailedError as error:
            found = {"failed": str(error)}
        return {**head, "at": datetime.now(timezone.utc).isoformat(timespec="seconds"), **found}

    def model(self, name: str) -> Path:
        """The file of a model at its batch, written if need be."""
        path = self.work / "models" / f"{name}.onnx"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            staged = path.with_suffix(".part")
            model, batch, how = model_of(name)
            proto = MODELS[model](batch=batch)
            staged.write_bytes(quantized(proto, how) if how else proto.SerializeToString())
            staged.replace(path)
        return path


def gacer_tune(arguments: Sequence[str]) -> Any:
    """The JSON object that a command prints last. Raises FailedError."""
    command = [sys.executable, "-m", "gacer_tune", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ENTRY_S, check=False, cwd=ROOT)
    except subprocess.TimeoutExpired:
        raise FailedError(f"gacer-tune {arguments[0]} did not end within {ENTRY_S:g} s") from None
    if done.returncode not in (0, DIFFERENT):
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise FailedError(f"gacer-tune {arguments[0]}: {lines[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def write_page(journal: Journal, docs: Path) -> Path:
    """Write page and chart from the journal; return the page's path."""
    found = newest(journal.read()[0])
    docs.mkdir(parents=True, exist_ok=True)
    (docs / CHART).write_text(chart(found))
    page = docs / "benchmarks.md"
    page.write_text(markdown(found))
    return page


def main(arguments: Sequence[str], run: Run = gacer_tune) -> int:
    """Exit code: 0, 2 for unknown names, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    journal = Journal(given.work / "bench.jsonl")
    try:
        wanted = [] if given.render else entries(given.only, given.names)
    except ValueError as error:
        sys.stderr.write(f"error: --names: {error}\n")
        return 2
    command = command_of(arguments)
    bench = Bench(given.work, given.budget, given.rounds, given.against, command, run, given.precision)
    try:
        for number, (kind, name) in enumerate(wanted, start=1):
            record = bench.entry(kind, name)
            journal.append(record)
            ratio = record["bench"]["ratio_best_peer"] if "bench" in record else None
            said = record["failed"] if ratio is None else f"{ratio:.2f} times as fast as the best peer"
            sys.stdout.write(f"{number} of {len(wanted)}: {name}: {said}\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted: {journal.path} has what was finished, --render writes the page from it\n")
        return 130
    sys.stdout.write(f"written: {write_page(journal, given.docs)}\n")
    return 0


def command_of(arguments: Sequence[str]) -> str:
    """What to type to measure the same, wherever files are: without --work and --docs."""
    left, kept = iter(arguments), []
    for argument in left:
        if argument in ("--work", "--docs"):
            next(left, None)
        elif not argument.startswith(("--work=", "--docs=")):
            kept.append(argument)
    return shlex.join(["python", "-m", "tests.bench", *kept])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Compares with the peers.", allow_abbrev=False
    )
    parser.add_argument("--only", choices=list(SETS), help="one of the sets")
    parser.add_argument("--names", nargs="+", action="extend", default=[], metavar="NAME", help="these entries only")
    parser.add_argument("--budget", default="20s", metavar="TIME", help="for tuning an entry (default 20s)")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="how often each system is timed")
    parser.add_argument("--against", default="onnxruntime,openvino,tvm", metavar="NAMES", help="the peers")
    parser.add_argument("--precision", choices=PRECISIONS["cpu"], default="fp32", help="ours, and of peers that can")
    parser.add_argument("--render", action="store_true", help="only write the page from the results that are there")
    parser.add_argument("--work", type=Path, default=ROOT / "build", metavar="DIR", help="for models and results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", metavar="DIR", help="where the page goes")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
