"""One text for one JSON value, so that equal values have equal digests on every machine."""

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from gacer_tune.ir.workload import canonical

_CHUNK_NBYTES = 1 << 20


def canonical_json(value: object) -> str:
    """ASCII JSON without spaces, keys sorted: `{"b": (1, 2.0), "a": None}` -> `{"a":null,"b":[1,2.0]}`.

    Tuples become lists; 1 and 1.0 stay different. Raises ValueError for NaN, infinities and cycles, TypeError for keys
    that are not strings and for values that JSON does not know.
    """
    text = canonical(value)
    _refuse_other_keys(value)  # after dumps, which has refused cycles
    return text


def readable_json(value: object) -> str:
    """The same value as `canonical_json` (and the same errors), indented for people, ending with a newline."""
    return json.dumps(json.loads(canonical_json(value)), sort_keys=True, indent=2) + "\n"


def digest(value: object) -> str:
    """sha256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, 64 hex digits. Raises OSError where the file cannot be read."""
    with path.open("rb") as stream:
        return stream_digest(stream)


def stream_digest(stream: BinaryIO) -> str:
    """sha256 of what is left of the stream, 64 hex digits, in constant memory."""
    sha = hashlib.sha256()
    while chunk := stream.read(_CHUNK_NBYTES):
        sha.update(chunk)
    return sha.hexdigest()


def _refuse_other_keys(value: object) -> None:
    """json.dumps would turn the keys 1, True and None into strings, which may then collide with other keys."""
    children: list[object] = []
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"key {key!r}: only strings can be keys of a JSON object")
        children = list(value.values())
    elif isinstance(value, (list, tuple)):
        children = list(value)
    for child in children:
        _refuse_other_keys(child)
