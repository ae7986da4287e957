"""Lines from a process that may hang or die, each waited for until a deadline."""

from __future__ import annotations

import os
import select
import time
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
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self.pipe], [], [], left_s)[0]:
                return None
            block = os.read(self.pipe, 1 << 16)
            if not block:
                return b""
            self._rest += block
        line, end, self._rest = self._rest.partition(b"\n")
        return line + end
