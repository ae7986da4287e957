"""docs/features.md names files and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "features.md").read_text()


def test_every_file_that_is_named_exists() -> None:
    named = {name.partition("::")[0] for name in re.findall(r"`((?:ir|cost_model|gacer_tune|tests)/[^`]*)`", PAGE)}
    assert len(named) > 30
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 50
    assert [f"{p}::{t}" for p, t in named if not re.search(rf"\bdef {t}\(", (ROOT / p).read_text())] == []


def test_every_row_has_a_test() -> None:
    rows = re.findall(r"^\| ([YGDB]\d+) \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE)
    wanted = [
        *(f"Y{n}" for n in range(1, 10)),
        *(f"G{n}" for n in (*range(1, 9), 10)),
        *("D1", "D2", "D6", "D8"),
        *(f"B{n}" for n in range(1, 16)),
    ]
    assert [row for row, _ in rows] == wanted
    assert all("tests/" in tests for _, tests in rows)
