"""Links compiled kernels and the interpreter into one shared library that TVM's runtime loads."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gacer_tune.errors import UserError
from gacer_tune.executor.emit.dispatch import dispatcher
from gacer_tune.executor.emit.interpreter import interpreter
from gacer_tune.kernels.emit.compile import object_code
from gacer_tune.kernels.machine import Machine
from gacer_tune.temporary import temporary_folder


def link(functions: Sequence[tuple[str, int]], objects: Sequence[Path], machine: Machine, out: Path) -> None:
    """Write the library. functions: (symbol, number of operands); rows of a plan name them by position.

    Raises UserError when there is no C compiler to link with.
    """
    compiler = next(
        (c for c in (os.environ.get("CXX"), "g++", "clang++", "c++", "gcc", "cc") if c and shutil.which(c)), None
    )
    if compiler is None:
        raise UserError("no C++ compiler found to link with: install g++ or clang++, or set CXX")
    module = interpreter(machine)
    with temporary_folder() as folder:
        archive = folder / "kernels.rsp"
        call = folder / "call.o"
        call.write_bytes(object_code(dispatcher(functions), machine))
        archive.write_text("\n".join(f'"{path}"' for path in (call, *objects)))
        with _uninterrupted():
            module.export_library(str(out), cc=compiler, addons=None, options=[f"@{archive}", "-lm"])


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started inside does not hear Ctrl-C, which is for the tuner; that hears it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
