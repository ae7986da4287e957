"""A folder of files that is one artifact: whole and vouched for by its manifest, or refused.

`manifest.json` holds `"format": 1`, `"files": {name: {"nbytes": ..., "sha256": ...}}` and the publisher's own fields.
All files are staged in the folder first, then renamed, the manifest last: only a crash between the renames spoils the
previous artifact, and then the hashes in its manifest refuse the mixture. `.publish.lock` stays in the folder.
"""

import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from gacer_tune.errors import UserError
from gacer_tune.store.canonical import readable_json, stream_digest
from gacer_tune.store.durable import Written, refusing, sync_folder, write_new

FORMAT = 1
MANIFEST = "manifest.json"
_STAGED = ".staged-"
_LOCK = ".publish"
_CHANGED = "changed since it was published, or being published now"
_LOCK_TIMEOUT_S = 60.0
_MANIFEST_MAX_NBYTES = 64 << 20
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def publish(folder: Path, files: Mapping[str, bytes | Path], manifest: Mapping[str, Any]) -> None:
    """Write the files (given as bytes, or as a file to copy) and their manifest as one artifact.

    Names are plain: ASCII letters, digits, `_`, `-`, `.`, no leading dot. Files of an earlier publication that are not
    named again stay, but no manifest vouches for them any more. Raises ValueError for names or fields that cannot be
    published, UserError where a source cannot be read or the folder cannot be written; up to the first rename the
    artifact that was there stays untouched.
    """
    for name in files:
        if not _is_plain(name):
            raise ValueError(f"{name!r} cannot be published: a plain file name other than {MANIFEST} is allowed")
    if taken := {"files", "format"} & set(manifest):
        raise ValueError(f"manifest fields {sorted(taken)} are written by publish itself")
    from gacer_tune.store.lock import exclusive  # here, because reading an artifact must not need filelock

    require_writable(folder, sum(_nbytes(source) for source in files.values()))
    with exclusive(folder / _LOCK, _LOCK_TIMEOUT_S):
        try:
            _sweep(folder)
            _stage(folder, files, manifest)
            _rename(folder, sorted(files))
        finally:
            _sweep(folder)


def require_writable(folder: Path, nbytes: int = 0) -> None:
    """Make the folder if need be and prove by writing that it takes files and has `nbytes` free; else UserError."""
    probe = folder / f".probe-{uuid.uuid4().hex}"
    with refusing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_new(probe, b"probe")
        probe.unlink()
        free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise UserError(f"{folder}: {nbytes} bytes are needed, {free} bytes are free on its disk")


def open_artifact(folder: Path, needed: Collection[str] = ()) -> dict[str, Any]:
    """The manifest, once every file it lists has been found with its size and hash.

    `needed` names files that must be listed. Raises UserError naming the file and what is wrong: nothing published,
    torn or newer manifest, a file that is missing, changed, not listed, no plain file, or outside the folder.
    """
    manifest = _read_manifest(folder / MANIFEST)
    require_listed(folder, manifest, needed)
    for name, facts in manifest["files"].items():
        if not _is_plain(name):
            raise UserError(f"{folder / MANIFEST}: lists {name!r}, only plain file names are allowed")
        _verify(folder / name, _facts(folder, name, facts))
    return manifest


def require_listed(folder: Path, manifest: Mapping[str, Any], names: Collection[str]) -> None:
    for name in names:
        if name not in manifest["files"]:
            raise UserError(f"{folder / name}: needed, but not listed in {MANIFEST}")


def _stage(folder: Path, files: Mapping[str, bytes | Path], manifest: Mapping[str, Any]) -> None:
    """Put all contents, the manifest too, on the disk under staged names: a want of room shows here."""
    listed = {}
    for name, source in sorted(files.items()):
        with refusing(folder / name):
            written = write_new(folder / (_STAGED + name), source)
        listed[name] = {"nbytes": written.nbytes, "sha256": written.sha256}
    text = readable_json({**manifest, "format": FORMAT, "files": listed})
    with refusing(folder / MANIFEST):
        write_new(folder / (_STAGED + MANIFEST), text.encode("ascii"))


def _rename(folder: Path, names: list[str]) -> None:
    for name in [*names, MANIFEST]:
        if (folder / name).is_dir():
            raise UserError(f"{folder / name}: cannot be written: it is a folder")
    for name in names:
        with refusing(folder / name):
            (folder / (_STAGED + name)).replace(folder / name)
    with refusing(folder):
        sync_folder(folder)
        (folder / (_STAGED + MANIFEST)).replace(folder / MANIFEST)
        sync_folder(folder)


def _sweep(folder: Path) -> None:
    """Remove what a failed or killed publisher has staged; only the holder of the lock may."""
    with refusing(folder):
        for path in folder.glob(_STAGED + "*"):
            path.unlink(missing_ok=True)


def _nbytes(source: bytes | Path) -> int:
    if isinstance(source, bytes):
        return len(source)
    with refusing(source, "cannot be read"):
        return source.stat().st_size


def _is_plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name != MANIFEST


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder")
    with _open_plain(path) as file, refusing(path, "cannot be read"):
        text = file.read(_MANIFEST_MAX_NBYTES + 1)
    if len(text) > _MANIFEST_MAX_NBYTES:
        raise UserError(f"{path}: larger than {_MANIFEST_MAX_NBYTES} bytes, no manifest of an artifact")
    try:
        manifest = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: torn or damaged, it is not JSON; publish the artifact again") from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise UserError(f"{path}: not the manifest of an artifact, it has no format number")
    if manifest["format"] != FORMAT:
        age = "newer" if manifest["format"] > FORMAT else "unknown"
        raise UserError(f"{path}: {age} format {manifest['format']}, this version reads format {FORMAT}")
    if not isinstance(manifest.get("files"), dict):
        raise UserError(f"{path}: not the manifest of an artifact, it lists no files")
    return manifest


def _facts(folder: Path, name: str, facts: object) -> Written:
    """The size and hash that the manifest claims."""
    sha256 = facts.get("sha256") if isinstance(facts, dict) else None
    nbytes = facts.get("nbytes") if isinstance(facts, dict) else None
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None or type(nbytes) is not int:
        raise UserError(f"{folder / MANIFEST}: {name} is listed without its sha256 and nbytes")
    return Written(sha256, nbytes)


def _verify(path: Path, claimed: Written) -> None:
    with _open_plain(path) as file, refusing(path, "cannot be read"):
        nbytes = os.fstat(file.fileno()).st_size
        # The size first: it is free, and what has grown to gigabytes need not be hashed to be refused.
        sha256 = stream_digest(file) if nbytes == claimed.nbytes else ""
    if nbytes != claimed.nbytes:
        raise UserError(f"{path}: {nbytes} bytes, {MANIFEST} says {claimed.nbytes}: {_CHANGED}")
    if sha256 != claimed.sha256:
        raise UserError(f"{path}: its sha256 differs from the one in {MANIFEST}: {_CHANGED}")


def _open_plain(path: Path) -> BinaryIO:
    """Open a regular file, never through a link, never waiting for a pipe's writer."""
    if path.is_symlink():
        raise UserError(f"{path}: a symbolic link, only plain files are allowed in an artifact")
    if not path.exists():
        raise UserError(f"{path}: missing, the artifact is not complete")
    with refusing(path, "cannot be read"):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise UserError(f"{path}: not a plain file")
        return os.fdopen(descriptor, "rb")
