"""Keys, and entries that look old."""

import os
import time
from pathlib import Path

KEY, OTHER, THIRD = "ab" * 32, "ab" + "cd" * 31, "ef" * 32


def age(path: Path, seconds: float) -> None:
    then_s = time.time() - seconds
    os.utime(path, (then_s, then_s))


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]
