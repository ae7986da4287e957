"""Inputs and outputs of an artifact as .npz files, their keys `tenant/input` and `tenant/output`."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gacer_tune.errors import UserError
from gacer_tune.store.durable import refusing, replacing

Array = NDArray[Any]
Ports = Mapping[str, Mapping[str, tuple[tuple[int, ...], str]]]  # tenant -> port -> shape, type
Arrays = dict[str, dict[str, Array]]  # tenant -> port -> array


def read_arrays(path: Path, ports: Ports) -> Arrays:
    """One array for each port. Raises UserError naming the file and the key that is missing, unknown or misshapen."""
    with refusing(path, "cannot be read"):
        try:
            file = np.load(path, allow_pickle=False)
            if not hasattr(file, "files"):
                raise UserError(f"{path}: a single array, an .npz file with keys TENANT/INPUT is needed")
            with file:
                found = {key: np.asarray(file[key]) for key in file.files}
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: not an .npz file of plain arrays: {error}") from error
    wanted = {f"{tenant}/{name}": port for tenant, row in ports.items() for name, port in row.items()}
    if missing := wanted.keys() - found.keys():
        raise UserError(f"{path}: no {', '.join(sorted(missing))}; it has {', '.join(sorted(found)) or 'nothing'}")
    if unknown := found.keys() - wanted.keys():
        raise UserError(f"{path}: unknown {', '.join(sorted(unknown))}; allowed: {', '.join(wanted)}")
    for key, (shape, dtype) in wanted.items():
        array = found[key]
        if array.shape != shape or str(array.dtype) != dtype:
            raise UserError(f"{path}: {key}: {array.dtype} {_x(array.shape)} was given, allowed: {dtype} {_x(shape)}")
    return {tenant: {name: found[f"{tenant}/{name}"] for name in row} for tenant, row in ports.items()}


def write_arrays(path: Path, arrays: Mapping[str, Mapping[str, Array]]) -> None:
    """The file is there whole or not at all. Raises UserError."""
    content = io.BytesIO()
    flat: dict[str, Any] = {f"{tenant}/{name}": array for tenant, row in arrays.items() for name, array in row.items()}
    np.savez(content, **flat)
    with replacing(path) as staged:
        staged.write_bytes(content.getvalue())


def checksum(array: Array) -> str:
    """The first 16 hex digits of the sha256 of the values."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
