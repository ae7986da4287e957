"""The parent's end of a process that proposes and compiles: what it answers, and what became of what it did not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gacer_tune.kernels.encoding import value_of
from gacer_tune.kernels.scheduled import Scheduled
from gacer_tune.lines import Lines
from gacer_tune.processes import program
from gacer_tune.search.trial import Failure

REQUEST = "request.json"
PROPOSE_S = 600.0  # until the first tile is announced, on a machine that others keep busy, too
COMPILE_S = 120.0  # for each tile


@dataclass
class Answers:
    """compiled: object files by tile; failed: tiles that ended the process or took too long; refused: those that make
    no kernel; trouble: why there were no tiles at all, empty where there were.
    """

    compiled: dict[Scheduled, Path] = field(default_factory=dict)
    failed: dict[Scheduled, Failure] = field(default_factory=dict)
    refused: dict[Scheduled, str] = field(default_factory=dict)
    trouble: str = ""

    @property
    def none(self) -> bool:
        return not (self.compiled or self.failed or self.refused)


def ask(request: dict[str, Any], folder: Path, proposing: Sequence[str] = ()) -> Answers:
    """Start a process with this request, wait for what it compiles into folder, and end it."""
    command = [*(proposing or program("gacer_tune.metaschedule.proposing")), str(folder)]
    (folder / REQUEST).write_text(json.dumps(request))
    errors, answers = folder / "stderr.txt", Answers()
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, bufsize=0, start_new_session=True
        ) as process,
    ):
        try:
            code = _read(process, answers, folder)
        finally:
            process.kill()
    if code and answers.none:
        lines = errors.read_text(errors="replace").strip().splitlines()
        answers.trouble = lines[-1] if lines else f"it ended with exit code {code}"
    return answers


def _read(process: subprocess.Popen[bytes], answers: Answers, folder: Path) -> int:
    """Until the process ends, whose exit code is returned, or a line takes too long."""
    assert process.stdout is not None
    lines, limit_s = Lines(process.stdout.fileno()), PROPOSE_S
    tile: Scheduled | None = None
    while True:
        line = lines.next(limit_s)
        limit_s = COMPILE_S
        if not line:
            if tile is not None:
                answers.failed[tile] = _why(line)
            elif line is None:
                answers.trouble = f"no proposal within {PROPOSE_S:g} s"
            return 0 if line is None else process.wait()
        said = json.loads(line)
        if "tile" in said:
            tile = value_of(Scheduled, said["tile"])
        elif tile is not None and "compiled" in said:
            answers.compiled[tile], tile = folder / f"{said['compiled']}.o", None
        elif tile is not None:
            answers.refused[tile], tile = str(said["refused"]), None


def _why(line: bytes | None) -> Failure:
    if line is None:
        return Failure("timeout", f"not compiled within {COMPILE_S:g} s")
    return Failure("crash", "the compiling process ended")
