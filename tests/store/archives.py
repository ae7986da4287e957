"""Exported files as they should not be."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest

from gacer_tune.store import exchange
from gacer_tune.store.exchange import MANIFEST
from gacer_tune.store.schedules import Record
from tests.support.records import made

Place = TypeVar("Place", Path, IO[bytes])


def facts_of(data: bytes) -> dict[str, Any]:
    """What the manifest says of a member."""
    return {"nbytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def packed(path: Place, members: dict[str, bytes], listed: dict[str, Any] | None = None, **manifest: Any) -> Place:
    """A zip with a manifest that vouches for the members, unless `listed` says something else."""
    facts = {name: facts_of(data) for name, data in members.items()}
    document = {"kind": exchange.KIND, "format": 1, "files": facts if listed is None else listed, **manifest}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps(document))
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def named(record: Record) -> str:
    return f"schedules/{record.key}.json"


def listed_otherwise(**facts: Any) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        record = made()
        right = facts_of(record.to_bytes())
        return packed(path, {named(record): record.to_bytes()}, {named(record): {**right, **facts}})

    return write


def twice(path: Path) -> Path:
    packed(path, {named(made()): made().to_bytes()})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(named(made()), b"another one")
    return path


def encrypted(path: Path) -> Path:
    """The flag alone, in both headers."""
    data = bytearray(packed(path, {named(made()): made().to_bytes()}).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    path.write_bytes(bytes(data))
    return path


def lzma_packed(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(MANIFEST, "{}")
    return path


def without_manifest(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(named(made()), made().to_bytes())
    return path


def written(data: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return write


def whole() -> bytes:
    """A file as it should be."""
    content = io.BytesIO()
    packed(content, {named(made()): made().to_bytes()})
    return content.getvalue()
