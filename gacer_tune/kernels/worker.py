"""A compiling process: `python -m gacer_tune.kernels.worker FOLDER`.

Each line of its input is one function as JSON; it writes FOLDER/NAME.o and answers with the name. Anything that goes
wrong ends it with a traceback: a kernel that does not compile is a bug.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gacer_tune.kernels.emit.compile import object_code
from gacer_tune.kernels.encoding import decode
from gacer_tune.kernels.machine import Machine


def main(folder: Path) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        source, name = decode(request), request["name"]
        assert isinstance(source.machine, Machine)  # kernels of a GPU are compiled by kernels/cuda
        (folder / f"{name}.o").write_bytes(object_code(source.emit(name), source.machine))
        sys.stdout.write(name + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
