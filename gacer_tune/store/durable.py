"""Writes that survive a crash, and the words in which a refused write is told to the user."""

import contextlib
import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gacer_tune.errors import UserError

_CHUNK_NBYTES = 1 << 20
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file of that name is in the way",
    errno.EISDIR: "it is a folder",
    errno.ENOENT: "no such file or folder",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What reached the disk."""

    sha256: str
    nbytes: int


def reason(error: OSError) -> str:
    """Why the system refused, in words, without the path: `the disk is full`."""
    known = _REASONS.get(error.errno) if error.errno is not None else None
    return known or error.strerror or str(error)


@contextlib.contextmanager
def refusing(path: Path, verb: str = "cannot be written") -> Iterator[None]:
    """Turn an OSError of the body into `UserError("PATH: cannot be written: the disk is full")`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: {verb}: {reason(error)}") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Let the body write a file beside `path`, which then takes its name: it is there whole or not at all.

    Raises UserError where it cannot be written.
    """
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with refusing(path):
        try:
            yield staged
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)


def write_new(path: Path, source: bytes | Path, *, sync: bool = True) -> Written:
    """Write a file that must not exist yet, to the disk itself when `sync`; a failure leaves nothing behind.

    Raises OSError for the file written and UserError for a source that cannot be read.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    sha, nbytes = hashlib.sha256(), 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in _chunks(source):
                file.write(chunk)
                sha.update(chunk)
                nbytes += len(chunk)
            file.flush()
            if sync:
                os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Written(sha.hexdigest(), nbytes)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: after a crash a rename is seen only if its folder reached the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; what was asked of them is done as well as they can.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _chunks(source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with refusing(source, "cannot be read"), source.open("rb") as file:
        while chunk := file.read(_CHUNK_NBYTES):
            yield chunk
