"""Processes that are forked, not started."""

import os
from collections.abc import Callable


def forked(run: Callable[[], bool]) -> int:
    """The id of a fork of this process, which ends with 0 where `run` returns true, and with 2 where it raises: it does
    not go on with the tests of its parent."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if run() else 1)
        finally:
            os._exit(2)
    return child
