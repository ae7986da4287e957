"""Lines from and to a process that may hang or die, each waited for until a deadline."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from dataclasses import dataclass


@dataclass
class Lines:
    """pipe: the descriptor of its reading end, which stays the caller's to close."""

    pipe: int = -1
    _rest: bytes = b""

    def next(self, limit_s: float) -> bytes | None:
        """The next line with its end; nothing where no more will come, None where it takes too long."""
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._rest:
            if not _ready(self.pipe, select.POLLIN, deadline):
                return None
            block = os.read(self.pipe, 1 << 16)
            if not block:
                return b""
            self._rest += block
        line, end, self._rest = self._rest.partition(b"\n")
        return line + end


def send(pipe: int, line: bytes, limit_s: float) -> bool:
    """Write all of it to a pipe that does not block; False where that takes too long, with part of it written.

    Raises BrokenPipeError where nobody will read it.
    """
    deadline = time.monotonic() + limit_s
    while line:
        if not _ready(pipe, select.POLLOUT, deadline):
            return False
        with suppress(BlockingIOError):
            line = line[os.write(pipe, line) :]
    return True


def _ready(pipe: int, event: int, deadline: float) -> bool:
    """Wait for one of them, or for the other end to be closed."""
    poll = select.poll()  # unlike select() it takes any number of open files
    poll.register(pipe, event)
    left_s = deadline - time.monotonic()
    return left_s > 0 and bool(poll.poll(left_s * 1000))
