"""Arrays in files that are mapped instead of read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUFFIX = ".safetensors"
_TYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I8": np.int8,
    "U8": np.uint8, "BOOL": np.bool_,
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
