"""From a path the user gave to a clean, static, canonical model, and the digest that identifies it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import onnx

from gacer_tune.errors import UserError
from gacer_tune.frontend import external, limits, safety
from gacer_tune.frontend.bulk import without_bulk
from gacer_tune.frontend.inference import require_static
from gacer_tune.frontend.recurrent import unroll
from gacer_tune.frontend.shapes import fix_shapes
from gacer_tune.frontend.simplify import simplify

_BLOCK_NBYTES = 1 << 20


def load_model(path: Path, shapes: Mapping[str, tuple[int, ...]] = {}, batch: int | None = None) -> onnx.ModelProto:
    """The model at `path`, ready for lowering: checked, self-contained, every shape static, operators canonical.

    `shapes` maps inputs to dimensions, `batch` sets the first dimension of the inputs (see `shapes.fix_shapes`). Inputs
    and outputs keep names, order and element types; results are the same up to rounding. Raises UserError.
    """
    model = safety.read_model(path)
    try:
        fix_shapes(model, shapes, batch)
        model = unroll(simplify(model))
        require_static(model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return model


def model_digest(path: Path) -> str:
    """sha256, in hexadecimal, of the file's bytes and of every external data file it refers to, in order of location.

    Without external data it is the file's own sha256. The same refusals as for `load_model` apply to external files.
    """
    block = bytearray(_BLOCK_NBYTES)  # one for all: fresh memory costs more than to read into it
    with safety.open_file(path) as file:
        digest, total = hashlib.sha256(), 0
        while nbytes := file.readinto(block):
            digest.update(memoryview(block)[:nbytes])
            total += nbytes
        model = without_bulk(file, total)
    if model is None:
        model = safety.parse_model(safety.read_file(path), path)
    try:
        limits.check_size(model.graph)
        for location, tensor in external.external_locations(model).items():
            where = f"tensor {tensor!r}: external data {location!r}"
            with external.open_below(external.folder_of(path), location, where) as descriptor:
                size = os.fstat(descriptor).st_size
                total += size
                if total > limits.MAX_TOTAL_NBYTES:
                    raise UserError(f"{where}: the model is larger than {limits.MAX_TOTAL_NBYTES} bytes in all")
                digest.update(f"{location}\0{size}\0".encode())
                for chunk in external.chunks(descriptor, 0, size, where):
                    digest.update(chunk)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return digest.hexdigest()
