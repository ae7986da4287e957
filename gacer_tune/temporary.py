"""Temporary folders that do not outlive their process for long: a killed one's are removed by the next that needs any.

The owner of a folder holds a lock on a file in it; the system lets go of the lock when the owner dies, however it
dies. Process numbers would not do: they are used again, and containers that share a folder do not share them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

PREFIX = "gacer-tune-"
_OWNER = ".owner"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end."""
    _sweep_once()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        owner = _locked(folder)
        try:
            yield folder
        finally:
            os.close(owner)


def _locked(folder: Path) -> int:
    """The lock file, which gets its name only when it is locked: nobody ever finds it unlocked while we live."""
    unnamed = folder / f"{_OWNER}.new"
    owner = os.open(unnamed, os.O_CREAT | os.O_RDWR)
    fcntl.flock(owner, fcntl.LOCK_EX)
    unnamed.rename(folder / _OWNER)
    return owner


@cache
def _sweep_once() -> None:
    sweep(Path(tempfile.gettempdir()))


def sweep(place: Path) -> None:
    """Remove this user's folders whose owner is dead. What has no owner's file is none of ours and stays."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, gone meanwhile, or its owner lives
            if not folder.is_symlink() and folder.stat().st_uid == os.geteuid():
                _remove_if_dead(folder)


def _remove_if_dead(folder: Path) -> None:
    """Raises OSError where the owner lives or there is none."""
    owner = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(owner)


@contextmanager
def another_name(path: Path) -> Iterator[Path]:
    """A name that a file has for now only; where nothing can be written its own.

    For the loader of libraries, which for a name that it knows gives the library that it has, also where another one
    has been published under that name since.
    """
    with ExitStack() as stack:
        name = path.resolve()
        with suppress(OSError):
            other = stack.enter_context(temporary_folder()) / path.name
            other.symlink_to(name)
            name = other
        yield name
