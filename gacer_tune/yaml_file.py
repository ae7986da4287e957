"""Reads a YAML file of settings, and says in one message why it cannot be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from gacer_tune.errors import UserError
from gacer_tune.store.durable import refusing

_MOST_FILE_NBYTES = 1 << 20


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping that the file is. Raises UserError where it is none, is too long, or has a key twice."""
    import yaml

    with refusing(path, "cannot be read"), path.open("rb") as file:
        content = file.read(_MOST_FILE_NBYTES + 1)
    if len(content) > _MOST_FILE_NBYTES:
        raise UserError(f"{path}: more than {_MOST_FILE_NBYTES} bytes, no settings are that long")
    try:
        text = content.decode("utf-8")
        _refuse_repeated(path, yaml.compose(text, yaml.SafeLoader))
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}: not YAML{line}: {getattr(error, 'problem', None) or 'it cannot be read'}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UserError(f"{path}: not a YAML mapping of keys to values, as in `tenants: [det.onnx, seg.onnx]`")
    return found


def _refuse_repeated(path: Path, root: Any) -> None:
    """YAML itself would silently take the last of several equal keys."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen or isinstance(node.value, str):
            continue
        seen.add(id(node))
        pairs = [item for item in node.value if isinstance(item, tuple)]
        keys = Counter(str(key.value) for key, _ in pairs)
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise UserError(f"{path}: key {repeated[0]!r} was given twice")
        waiting += [value for _, value in pairs] or node.value
