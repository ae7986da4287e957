"""gacer-tune cache on a cache of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gacer_tune.cli.cache import parse_age, parse_size
from gacer_tune.store.cache import Cache
from tests.cli.support import Cli


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Three entries of 1000 bytes, last used 3, 2 and 1 hours ago."""
    made = Cache(tmp_path / "cache")
    now = time.time()
    for number in (1, 2, 3):
        path = made.put(f"{number}" * 16, bytes(1000), ".o")
        os.utime(path, (now - 3600 * (4 - number),) * 2)
    return made


def test_ls_shows_what_is_there(cli: Cli, cache: Cache) -> None:
    said = cli("cache", "ls", "--cache", cache.root)
    assert said.code == 0
    rows = [[part.strip() for part in line.strip("│").split("│")] for line in said.out.splitlines() if "│" in line]
    assert rows[0] == ["3" * 16, ".o", "1.00 kB", "1 h 00 min ago"]
    assert said.out.splitlines()[-1] == f"{cache.root}: 3 entries, 3.00 kB"
    found = cli("cache", "ls", "--cache", cache.root, "--json").last
    assert [entry["key"][0] for entry in found["entries"]] == ["3", "2", "1"]
    assert found["nbytes"] == 3000


def test_an_empty_cache_is_no_error(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GACER_TUNE_CACHE", str(tmp_path / "none"))
    for command in ("ls", "verify"):
        said = cli("cache", command)
        assert said.code == 0
        assert said.out.startswith(f"{tmp_path / 'none'}: 0 entries, ")


def test_verify_sets_damage_aside(cli: Cli, cache: Cache) -> None:
    path = cache.list()[0].path
    path.write_bytes(b"changed")
    said = cli("cache", "verify", "--cache", cache.root, "--json")
    assert said.code == 3
    assert said.last == {"root": str(cache.root), "entries": 3, "damaged": [path.name]}
    assert f"damaged, set aside: {path.name}" in said.err
    assert len(cache.list()) == 2
    assert cli("cache", "verify", "--cache", cache.root).code == 0


def test_gc_removes_the_least_recently_used(cli: Cli, cache: Cache) -> None:
    said = cli("cache", "gc", "--max-size", "2kB", "--cache", cache.root, "--json")
    assert (said.code, said.last["removed"], said.last["nbytes"]) == (0, 1, 1000)
    assert [entry.key[0] for entry in cache.list()] == ["3", "2"]
    assert cli("cache", "gc", "--max-age", "90m", "--cache", cache.root).out == (
        f"{cache.root}: 1 entries removed, 1.00 kB\n"
    )
    assert [entry.key[0] for entry in cache.list()] == ["3"]


def test_sizes_and_ages() -> None:
    assert [parse_size(text) for text in ("10", "500MB", "2.5 GB", "1kB")] == [10, 5e8, 2.5e9, 1000]
    assert [parse_age(text) for text in ("90s", "2m", "1.5h", "30d")] == [90, 120, 5400, 2592000]
