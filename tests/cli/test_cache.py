"""gacer-tune cache on a cache of its own."""

from __future__ import annotations

import os
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from gacer_tune.cli.cache import parse_age, parse_size
from gacer_tune.ir.workload import Workload
from gacer_tune.store.cache import Cache
from gacer_tune.store.schedules import put, records
from tests.cli.support import Cli
from tests.support.records import NOW_S, PAIR, RESULT, made


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


@pytest.fixture
def filled(tmp_path: Path) -> Cache:
    """Two schedules of the same models, for two objectives; the later one is no gain."""
    found = Cache(tmp_path / "filled")
    put(found, made())
    nothing = replace(RESULT, best_s=RESULT.baseline_s, accepted=False)
    put(found, made(objective="throughput", result=nothing, made_s=NOW_S + 60))
    return found


def test_ls_shows_schedules_with_models_device_time_and_gain(cli: Cli, filled: Cache) -> None:
    said = cli("cache", "ls", "--cache", filled.root)
    assert said.code == 0
    cells = [[part.strip() for part in line.strip("│").split("│")] for line in said.out.splitlines() if "│" in line]
    later, earlier = (row for row in cells if len(row) == 8)
    assert later[1:7] == ["det, seg", "Some CPU, avx2, 2 cores", "2", "throughput", "20.0 ms", "none"]
    assert earlier[3:7] == ["2", "makespan", "15.0 ms", "1.33x"]
    assert earlier[0] == made().key[:16] and earlier[7].endswith(" ago")
    found = cli("cache", "ls", "--cache", filled.root, "--json").last["schedules"]
    assert [row["objective"] for row in found] == ["throughput", "makespan"]
    assert found[1]["key"] == made().key
    assert found[1]["tenants"] == ["det", "seg"] and found[1]["batches"] == [1, 1]
    assert found[1]["result"]["baseline"] == "lane_per_tenant"


def test_ls_names_the_gpu_and_the_precision(cli: Cli, filled: Cache) -> None:
    workload = Workload(PAIR.tenants, "cuda")
    for gpu in (
        '{"gpu":{"name":"NVIDIA H100"},"precision":"fp16"}',
        '{"gpu":"simulated h100","precision":"tf32"}',
        "?",
    ):
        put(filled, made(workload, gpu=gpu))
    put(filled, made(gpu='{"precision":"bf16"}'))
    said = cli("cache", "ls", "--cache", filled.root)
    devices = [row.split("│")[3].strip() for row in said.out.splitlines() if row.count("│") == 9]
    assert sorted(devices) == [
        "?",
        "NVIDIA H100, fp16",
        "Some CPU, avx2, 2 cores",
        "Some CPU, avx2, 2 cores",
        "Some CPU, avx2, 2 cores,",  # of this cell there are two lines
        "bf16",
        "simulated h100, tf32",
    ]


def test_schedules_go_from_one_cache_to_another(cli: Cli, filled: Cache, tmp_path: Path) -> None:
    file, other = tmp_path / "x.zip", Cache(tmp_path / "other")
    said = cli("cache", "export", file, "--cache", filled.root)
    assert said.code == 0
    assert said.out.splitlines()[-1].startswith(f"written: {file}, 2 schedules, ")
    taken = cli("cache", "import", file, "--cache", other.root)
    assert (taken.code, taken.out.splitlines()[-1]) == (0, f"{other.root}: 2 taken, 0 refused, 0 invalid")
    assert [record for _, record in records(other)] == [record for _, record in records(filled)]
    again = cli("cache", "import", file, "--cache", other.root, "--json")
    assert again.code == 0
    assert (again.last["taken"], again.last["refused"]) == (0, 2)
    assert {row["reason"] for row in again.last["schedules"]} == {"already in the cache"}


def test_export_of_some(cli: Cli, filled: Cache, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    for text, count in ((made().key[:10], 1), (made().key, 1), ("det,seg", 2), ("det, seg", 2)):
        said = cli("cache", "export", file, "--workload", text, "--cache", filled.root, "--json")
        assert (said.code, len(said.last["schedules"])) == (0, count)
    twice = cli(
        "cache", "export", file, "--workload", made().key, "--workload", "det,seg", "--cache", filled.root, "--json"
    )
    assert len(twice.last["schedules"]) == 2
    said = cli("cache", "export", tmp_path / "none.zip", "--workload", "det", "--cache", filled.root)
    assert said.code == 2
    assert said.err.startswith("error: --workload 'det': no such schedule, the cache has ")
    assert f"{made().key[:16]} (det,seg)" in said.err
    assert not (tmp_path / "none.zip").exists()


def test_export_of_nothing_is_refused(cli: Cli, cache: Cache, tmp_path: Path) -> None:
    said = cli("cache", "export", tmp_path / "x.zip", "--cache", cache.root)
    assert (said.code, said.err) == (
        2,
        f"error: {cache.root}: no schedules to export; `gacer-tune tune` puts them there\n",
    )


def test_invalid_schedules_are_exit_code_3_and_others_are_taken(cli: Cli, filled: Cache, tmp_path: Path) -> None:
    future = made(made_s=time.time() + 10 * 86400, objective="slo")
    put(filled, future)
    file, other = tmp_path / "x.zip", Cache(tmp_path / "other")
    assert cli("cache", "export", file, "--cache", filled.root).code == 0
    said = cli("cache", "import", file, "--cache", other.root)
    assert said.code == 3
    assert "made in the future" in said.out
    assert said.out.splitlines()[-1] == f"{other.root}: 2 taken, 0 refused, 1 invalid"
    assert len(records(other)) == 2


def test_a_file_that_is_none_is_the_users_error(cli: Cli, filled: Cache, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../evil.so", b"\x7fELF")
    before = [path.name for path in tmp_path.iterdir()]
    said = cli("cache", "import", file, "--cache", filled.root)
    assert said.code == 2
    allowed = "only schedules/KEY.json and kernels/KEY.jsonl are allowed"
    assert said.err == f"error: {file}: holds '../../evil.so', {allowed}\n"
    assert [path.name for path in tmp_path.iterdir()] == before
