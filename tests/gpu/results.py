"""Results on a GPU, kept so that a crash costs one of them; what they say in short is in `tests.gpu.tables`."""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

LIMIT_S = 90.0  # for one mix
CRASHED = {"failed": "the process ended here, or took too long"}  # while a mix is worked on
LATE = {"failed": "no time left"}
Row = dict[str, Any]
Part = Callable[[], Iterator[Row]]


def work_through(
    path: Path, parts: Iterable[tuple[str, Part]], budget_s: float, limit_s: float = LIMIT_S
) -> dict[str, Row]:
    """Write what each part yields to a file as soon as it is there, the last of it stays; none begins after `budget_s`.

    Parts that the file has already are left out: when one ends the process, or has not ended after `limit_s` and is
    ended with the process, the next process goes on behind it. What it had yielded by then is kept.
    """
    results, began = known(path), time.monotonic()
    for name, part in parts:
        if name in results:
            continue
        if time.monotonic() - began > budget_s:
            _write(path, results, name, LATE)
            continue
        _write(path, results, name, CRASHED)
        faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__)
        try:
            for row in part():
                _write(path, results, name, row)
        except BaseException as error:  # the process ends: CUDA has no use for what failed once
            kept = {} if results[name] == CRASHED else results[name]
            _write(path, results, name, kept | {"failed": f"{type(error).__name__}: {error}"[:300]})
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
    return results


def _write(path: Path, results: dict[str, Row], name: str, row: Row) -> None:
    """The file with one more row; there is no moment at which it is not whole."""
    results[name] = row
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(results, indent=1))
    aside.replace(path)


def known(path: Path) -> dict[str, Row]:
    """Results that there are; none where there is no file or it is not whole."""
    try:
        found: dict[str, Row] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found
