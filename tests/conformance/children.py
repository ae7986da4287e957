"""Judges forms in processes of their own, so that one which ends its process, or never ends, costs itself only."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from tests.conformance.cases import Form
from tests.conformance.judging import Outcome

BATCH = 64  # forms that one process answers for
PATIENCE_S = 1800.0

Judge = Callable[[Sequence[Form]], list[Outcome]]


def outcomes(forms: Sequence[Form], judge: Judge) -> Iterator[Outcome]:
    """Outcomes in order of the forms. A batch whose process gives no answer is halved."""
    for start in range(0, len(forms), BATCH):
        yield from _halved(forms[start : start + BATCH], judge)


def _halved(batch: Sequence[Form], judge: Judge) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        answer, end = _answer(batch, judge, Path(folder) / "errors")
    if answer:
        return answer
    if len(batch) == 1:
        return [Outcome("crash", end)]
    middle = len(batch) // 2
    return [*_halved(batch[:middle], judge), *_halved(batch[middle:], judge)]


def _answer(batch: Sequence[Form], judge: Judge, errors: Path) -> tuple[list[Outcome], str]:
    """Outcomes of all forms; or none, and how the process ended."""
    context = get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(batch, judge, there, errors))
    child.start()
    there.close()
    in_time = here.poll(PATIENCE_S)
    try:
        rows = json.loads(here.recv_bytes()) if in_time else []
    except EOFError:
        rows = []
    if not in_time:
        child.kill()
    child.join()
    last = " ".join(errors.read_text(errors="replace").split())[-300:]
    return [Outcome(*row) for row in rows], f"exit code {child.exitcode}, {last}" if in_time else "no answer"


def _work(batch: Sequence[Form], judge: Judge, pipe: Connection, errors: Path) -> None:
    with errors.open("w") as file:
        os.dup2(file.fileno(), 2)
    pipe.send_bytes(json.dumps([astuple(outcome) for outcome in judge(batch)]).encode())
