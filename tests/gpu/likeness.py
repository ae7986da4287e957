"""Weights of large models by what they are like: a mix that is timed, and not checked, needs no more of them.

Times do not depend on the values of weights. So what is large is written as its mean and standard deviation, and drawn
anew where it is read: a mix of 200 MB of weights travels as a few hundred kilobytes. The rest stays as it is.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

Array = NDArray[Any]

LARGE = 4096  # values
DRAWN = 1 << 16  # so many values are drawn, then they repeat
MARK = "drawn: "  # in the doc_string of an initializer without values


def described(array: Array) -> list[float] | None:
    """Mean and standard deviation of what is large and floating; None for what has to stay as it is."""
    if array.size <= LARGE or array.dtype.kind != "f":
        return None
    values = array.astype(np.float64)
    found = [float(values.mean()), float(values.std())]
    return found if np.isfinite(found).all() else None


def drawn(name: str, shape: Iterable[int], dtype: str, like: Iterable[float]) -> Array:
    """An array of this mean and standard deviation, the same one for the same name."""
    mean, deviation = like
    size = int(np.prod(tuple(shape), dtype=np.int64))
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(min(size, DRAWN), np.float32)
    return np.resize((values * deviation + mean).astype(dtype), size).reshape(tuple(shape))


def save_weights(folder: Path, weights: Mapping[str, Array]) -> None:
    """Write weights.safetensors with what is small, weights.json with what the rest is like."""
    found = {name: (array.shape, str(array.dtype), described(array)) for name, array in weights.items()}
    likes = {name: row for name, row in found.items() if row[2] is not None}
    save_file(
        {n: np.ascontiguousarray(a) for n, a in weights.items() if n not in likes}, folder / "weights.safetensors"
    )
    (folder / "weights.json").write_text(json.dumps(likes))


def read_weights(folder: Path) -> Iterator[tuple[str, Array]]:
    """The weights of a folder, by name; where there is no weights.json, all of them are as they are."""
    yield from load_file(folder / "weights.safetensors").items()
    likes = folder / "weights.json"
    if likes.exists():
        for name, (shape, dtype, like) in json.loads(likes.read_text()).items():
            yield name, drawn(name, shape, dtype, like)


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with what its large weights are like in their place."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if (like := described(array)) is not None:
            dims = list(tensor.dims)
            kept = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, doc_string=MARK + json.dumps(like))
            kept.dims.extend(dims)
            tensor.CopyFrom(kept)
    return light


def with_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with weights in place of what they are like."""
    for tensor in model.graph.initializer:
        if tensor.doc_string.startswith(MARK):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            array = drawn(tensor.name, tensor.dims, str(dtype), json.loads(tensor.doc_string.removeprefix(MARK)))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model
