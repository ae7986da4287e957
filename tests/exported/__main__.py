"""Exports models of torchvision, timm and transformers, and holds what becomes of them against ONNX Runtime.

python -m tests.exported --only timm

The Python that exports needs torch, torchvision, timm, transformers and onnxscript; it may be another one (--python).
Exits with 1 where a model is wrong or crashes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.judging import Outcome
from tests.exported.catalogue import makers

PATIENCE_S = 900.0
NOT_EXPORTED = "not exported"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="models whose name this finds")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="the Python that exports")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where files stay; those there are not made again")
    given = parser.parse_args(arguments)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in filter(re.compile(given.only).search, makers()):
            path = (given.keep or Path(scratch)) / f"{name.replace('/', '-')}.onnx"
            verdict, message = became(name, path, given.python)
            counts.setdefault(name.split("/")[0], Counter())[verdict] += 1
            print(f"{verdict:<12} {name:45} {message}", flush=True)
            if not given.keep:
                path.unlink(missing_ok=True)
    for library, found in counts.items():
        print(f"{library}: " + ", ".join(f"{count} {verdict}" for verdict, count in found.most_common()))
    return int(any(found["wrong"] or found["crash"] for found in counts.values()))


def became(name: str, path: Path, python: str) -> tuple[str, str]:
    """Verdict and message; each step in a process of its own."""
    if not path.exists():
        unfinished = path.with_suffix(".part")
        told, error = _run([python, "-m", "tests.exported.exporting", name, str(unfinished)])
        if told is None or not unfinished.exists():
            unfinished.unlink(missing_ok=True)
            return NOT_EXPORTED, error
        unfinished.rename(path)
    told, error = _run([sys.executable, "-m", "tests.exported.judging", str(path)])
    if told is None:
        return "crash", error
    outcome = Outcome(**json.loads(told.splitlines()[-1]))
    return outcome.verdict, outcome.message


def _run(command: Sequence[str]) -> tuple[str | None, str]:
    """What it printed; or None, and how it ended."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return None, f"no answer after {PATIENCE_S:.0f} s"
    if done.returncode:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        return None, f"exit code {done.returncode}: {last[:200]}"
    return done.stdout, ""


if __name__ == "__main__":
    sys.exit(main())
