"""The trials that an artifact has kept."""

from __future__ import annotations

import json
from pathlib import Path

from gacer_tune.errors import UserError
from gacer_tune.search.trial import Trial
from gacer_tune.store.durable import refusing


def read_trials(path: Path) -> list[Trial]:
    """All of them, from lines like `{"workload": KEY, "trial": {...}}`. No file holds none.

    Raises UserError naming the line that is no trial of this version.
    """
    if not path.exists():
        return []
    with refusing(path, "cannot be read"):
        lines = path.read_bytes().splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Trial.from_json(json.loads(line)["trial"]))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number} is no trial: {error}") from error
    return found
