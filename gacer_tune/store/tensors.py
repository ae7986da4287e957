"""Arrays in files that are mapped instead of read, and those of the cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gacer_tune.errors import UserError
from gacer_tune.store.cache import Cache

SUFFIX = ".safetensors"
_TYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I8": np.int8,
    "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


def mapped(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file by name, read-only. They stay what they are also when the file is removed.

    Raises OSError where it cannot be mapped, and ValueError or KeyError where it is none.
    """
    block = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(block[:8].tobytes(), "little")
    header: dict[str, Any] = json.loads(block[8:start].tobytes())
    header.pop("__metadata__", None)
    found = {}
    for name, facts in header.items():
        begin, end = facts["data_offsets"]
        found[name] = block[start + begin : start + end].view(_TYPES[facts["dtype"]]).reshape(facts["shape"])
    return found


def find_arrays(cache: Cache, key: str) -> dict[str, NDArray[Any]] | None:
    """Arrays that `put_arrays` has stored; None where there are none."""
    path = cache.get(key)
    try:
        return None if path is None else mapped(path)
    except (OSError, ValueError, KeyError):
        return None  # collected by another process since, or of a type that is not known here


def save_weights(path: Path, weights: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Write a safetensors file. Raises UserError where it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(dict(weights), str(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written: {error}") from error


def put_arrays(cache: Cache, key: str, arrays: Mapping[str, NDArray[Any]], suffix: str) -> Path:
    """Store arrays; their file. Raises UserError where it cannot be written, and for types that safetensors lacks."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    try:
        return cache.put_written(key, partial(save_file, whole), suffix)
    except SafetensorError as error:
        raise UserError(f"{cache.root}: cannot be written: {error}") from error
