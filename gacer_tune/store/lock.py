"""A lock between processes that says who holds it."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gacer_tune.errors import UserError
from gacer_tune.store.durable import reason

_POLL_S = 0.01
_HOLDER_NBYTES = 200


@contextlib.contextmanager
def exclusive(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold `PATH.lock` during the body; nobody else, thread or process, holds it meanwhile.

    The system's lock goes with the process that holds it, so a killed holder blocks nobody. `PATH.holder` names the
    holder while there is one. Raises UserError with the holder's name after `timeout_s` seconds of waiting.
    """
    lock = FileLock(_beside(path, ".lock"))
    holder = _beside(path, ".holder")
    try:
        lock.acquire(timeout=timeout_s, poll_interval=_POLL_S)
    except Timeout as error:
        raise UserError(f"{path}: locked by {_holder_name(holder)}, waited {timeout_s:g} s") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be locked: {reason(error)}") from error
    try:
        # The holder's name only serves a message: a full disk is reported by the write that matters.
        with contextlib.suppress(OSError):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _holder_name(holder: Path) -> str:
    try:
        with holder.open("rb") as file:
            text = file.read(_HOLDER_NBYTES).decode("utf-8", "replace")
    except OSError:
        return "another process"
    # The file may be anybody's: nothing of it may reach a terminal as a control sequence.
    return "".join(letter for letter in text.strip() if letter.isprintable()) or "another process"
