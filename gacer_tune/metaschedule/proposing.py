"""Proposes variants of a kernel and compiles them, as a process: `python -m gacer_tune.metaschedule.proposing FOLDER`.

Its input is one JSON document in FOLDER. Each tile is announced before it is compiled, so that whoever reads knows
which one a crash or a hang is due to; NAME.o in FOLDER is its code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from gacer_tune.devices.worker import die_with_parent
from gacer_tune.kernels.emit.compile import object_code
from gacer_tune.kernels.emit.space import NotScheduledError
from gacer_tune.kernels.encoding import decode, value_of
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rules import Source
from gacer_tune.kernels.scheduled import Scheduled, product_of
from gacer_tune.metaschedule.compiling import REQUEST


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def tiles(request: dict[str, Any], source: Source, machine: Machine) -> Iterator[Scheduled]:
    """Those of the request, or new ones that make a kernel."""
    if "tiles" in request:
        yield from (value_of(Scheduled, tile) for tile in request["tiles"])
        return
    from gacer_tune.metaschedule.proposals import propose

    product = product_of(source.spec, machine)
    assert product is not None
    tried = [(value_of(Scheduled, tile), seconds) for tile, seconds in request["tried"]]
    proposed = propose(product, machine, tried, request["count"], request["seed"])
    yield from islice((tile for tile in proposed if makes_kernel(source, tile)), request["count"])


def makes_kernel(source: Source, tile: Scheduled) -> bool:
    """False for more scratch than fits on a stack, for example: no trial is spent on those."""
    try:
        Source(source.spec, tile, source.machine).emit("kernel")
    except NotScheduledError:
        return False
    return True


def main(folder: Path) -> None:
    request = json.loads((folder / REQUEST).read_text())
    source = decode(request["source"])
    machine = source.machine
    assert isinstance(machine, Machine)
    for tile in tiles(request, source, machine):
        made = Source(source.spec, tile, machine)
        say({"tile": asdict(tile)})
        try:
            code = object_code(made.emit(made.name), machine)
        except NotScheduledError as error:
            say({"refused": str(error)})
            continue
        (folder / f"{made.name}.o").write_bytes(code)
        say({"compiled": made.name})


if __name__ == "__main__":
    die_with_parent()
    main(Path(sys.argv[1]))
