"""Schedules on their way between machines: what arrives, what is refused, and files that mean harm."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.store import exchange
from gacer_tune.store.cache import Cache
from gacer_tune.store.exchange import MANIFEST, export, read, take
from gacer_tune.store.schedules import find, keep, put, records
from tests.store.archives import (
    encrypted,
    facts_of,
    listed_otherwise,
    lzma_packed,
    named,
    packed,
    twice,
    whole,
    without_manifest,
    written,
)
from tests.support.records import HERE, NOW_S, made
from tests.support.workloads import quick

THERE = replace(HERE, cores=64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two records: of this machine and of another one."""
    path = tmp_path / "schedules.zip"
    export([made(), made(fingerprint=THERE)], path)
    return path


def arrive(cache: Cache, path: Path) -> list[tuple[str, str]]:
    return [(arrival.verdict, arrival.reason) for arrival in take(cache, path, NOW_S + 60)]


def held(cache: Cache) -> set[str]:
    return {record.key for _, record in records(cache)}


def test_what_is_exported_arrives(cache: Cache, file: Path) -> None:
    assert arrive(cache, file) == [("taken", "")] * 2
    assert held(cache) == {made().key, made(fingerprint=THERE).key}
    assert find(cache, made().key) == made()


def test_equal_records_make_equal_files(tmp_path: Path, file: Path) -> None:
    assert export([made(fingerprint=THERE), made()], tmp_path / "again.zip") == file.stat().st_size
    assert (tmp_path / "again.zip").read_bytes() == file.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_file_holds_data_and_no_code(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read(MANIFEST))
        for name, facts in manifest["files"].items():
            data = archive.read(name)
            assert json.loads(data)["kind"] == "gacer-tune schedule"
            assert facts == facts_of(data)
    assert sorted(names) == sorted([MANIFEST, *manifest["files"]])


def test_nothing_newer_or_better_is_overwritten(cache: Cache, tmp_path: Path) -> None:
    here = made()
    keep(cache, here)
    cases = [
        (here, "refused", "already in the cache"),
        (made(best_s=0.001, made_s=NOW_S - 1), "refused", "the cache has a newer one"),
        (made(best_s=0.018, made_s=NOW_S + 1), "refused", "the cache has a better one: 15.0 ms against 18.0 ms"),
    ]
    for record, verdict, reason in cases:
        export([record], tmp_path / "one.zip")
        assert arrive(cache, tmp_path / "one.zip") == [(verdict, reason)]
        assert find(cache, here.key) == here
    export([made(best_s=0.014, made_s=NOW_S + 1)], tmp_path / "one.zip")
    assert arrive(cache, tmp_path / "one.zip") == [("taken", "instead of an older one: 14.0 ms against 15.0 ms")]
    assert find(cache, here.key) == made(best_s=0.014, made_s=NOW_S + 1)


def test_a_record_from_the_future_is_not_valid(cache: Cache, tmp_path: Path) -> None:
    """It would never be replaced."""
    export([made(made_s=NOW_S + 10 * 86400)], tmp_path / "one.zip")
    assert arrive(cache, tmp_path / "one.zip") == [("invalid", "made in the future")]
    assert held(cache) == set()


def test_each_record_is_judged_by_itself(cache: Cache, tmp_path: Path) -> None:
    good, other = made(), made(fingerprint=THERE)
    document = json.loads(other.to_bytes())
    document["schedule"]["lanes"] = 0
    members = {
        named(good): good.to_bytes(),
        named(other): json.dumps(document).encode(),
        "schedules/" + "0" * 64 + ".json": other.to_bytes(),
    }
    assert arrive(cache, packed(tmp_path / "mixed.zip", members)) == [
        ("taken", ""),
        ("invalid", "lanes: 0, at least 1"),
        ("invalid", "its name is not the key of what it holds"),
    ]
    assert held(cache) == {good.key}


NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "schedules/../../../x.json",
    "schedules/" + "0" * 64 + ".so",
    "schedules/" + "0" * 63 + ".json",
    "schedules\\" + "0" * 64 + ".json",
    "schedules/" + "0" * 64 + ".json/x",
    "module.so",
]


@pytest.mark.parametrize("name", NAMES)
def test_other_names_are_refused(cache: Cache, tmp_path: Path, name: str) -> None:
    good = made()
    file = packed(tmp_path / "bad.zip", {named(good): good.to_bytes(), name: b"x"})
    with pytest.raises(UserError, match=r"only schedules/KEY.json and kernels/KEY.jsonl are allowed"):
        take(cache, file)
    assert held(cache) == set(), "nothing of a file that is refused enters"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip"]


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (listed_otherwise(sha256="0" * 64), "is not what manifest.json says"),
        (listed_otherwise(nbytes=1), "is not what manifest.json says"),
        (listed_otherwise(sha256=None), "is not what manifest.json says"),
        (lambda path: packed(path, {}, {named(made()): {}}), "its files are not those that manifest.json lists"),
        (lambda path: packed(path, {named(made()): b"{}"}, {}), "its files are not those that manifest.json lists"),
        (lambda path: packed(path, {}, kind="a picture"), "no export of schedules"),
        (lambda path: packed(path, {}, format=2), "format 2, this version reads 1"),
        (lambda path: packed(path, {}, files=[]), "lists no files"),
        (lambda path: packed(path, {}, files={named(made()): 3}), "lists no files"),
        (twice, "a name is in it twice"),
        (encrypted, "is encrypted or packed in an unknown way"),
        (lzma_packed, "is encrypted or packed in an unknown way"),
        (without_manifest, "it has no manifest.json"),
        (written(b""), "torn or damaged, or no export of schedules"),
        (written(b"\x7fELF" * 100), "torn or damaged, or no export of schedules"),
        (lambda path: path, "no such file"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(
    cache: Cache, tmp_path: Path, write: Callable[[Path], Path], reason: str
) -> None:
    path = write(tmp_path / "bad.zip")
    with pytest.raises(UserError) as caught:
        take(cache, path)
    assert str(caught.value).startswith(f"{path}: ") and reason in str(caught.value)
    assert not cache.root.exists()


def test_bombs_are_refused_by_what_they_say_and_by_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "schedules/" + "0" * 64 + ".json"
    bomb = packed(tmp_path / "bomb.zip", {name: bytes(3_000_000)})
    assert bomb.stat().st_size < 10_000
    monkeypatch.setattr(exchange, "MOST_NBYTES", 1_000_000)
    with pytest.raises(UserError, match=r"larger than 1\.00 MB"):
        read(bomb)
    monkeypatch.setattr(exchange, "MOST_TOTAL_NBYTES", 2_000_000)
    with pytest.raises(UserError, match=r"3\.00 MB when unpacked, at most 2\.00 MB"):
        read(bomb)
    monkeypatch.setattr(exchange, "MOST_TOTAL_NBYTES", 1_000)
    with pytest.raises(UserError, match=r"larger than 1\.00 kB, no export"):
        read(bomb)
    monkeypatch.undo()
    monkeypatch.setattr(exchange, "MOST_FILES", 1)
    with pytest.raises(UserError, match="2 files, at most 1"):
        read(bomb)


def test_a_lie_about_the_size_is_found(tmp_path: Path) -> None:
    """The directory says 10 bytes, the data go on."""
    name = "schedules/" + "0" * 64 + ".json"
    data = bytearray(packed(tmp_path / "lie.zip", {name: bytes(5000)}).read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    (tmp_path / "lie.zip").write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"lie\.zip: "):
        read(tmp_path / "lie.zip")


def test_links_and_folders_are_no_files(tmp_path: Path, file: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: not a plain file"):
        read(tmp_path / "folder")
    (tmp_path / "link.zip").symlink_to(file)
    assert len(read(tmp_path / "link.zip")) == 2, "the user may name a link; members are never followed"


WHOLE = whole()


@quick
@given(st.data())
def test_torn_and_flipped_files_are_refused_or_still_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever happens to the bytes: either one message, or exactly the record that was exported."""
    content = bytearray(WHOLE[: data.draw(st.one_of(st.just(len(WHOLE)), st.integers(0, len(WHOLE))))])
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("torn") / "torn.zip"
    path.write_bytes(bytes(content))
    try:
        found = read(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert found in ({}, {named(made()): made().to_bytes()})


def test_an_unwritable_place_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none/x\.zip: cannot be written: no such file or folder"):
        export([made()], tmp_path / "none" / "x.zip")
    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match="taken: cannot be written"):
        export([made()], tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_imports_enter_only_after_all_was_checked(cache: Cache, tmp_path: Path, file: Path) -> None:
    """The last byte of the last record is damaged: the first one does not enter either."""
    put(cache, made(objective="slo"))
    before = held(cache)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
        manifest = json.loads(archive.read(MANIFEST))
    last = max(members)
    members[last] = members[last][:-1] + b" "
    with pytest.raises(UserError, match="changed or damaged since it was exported"):
        take(cache, packed(tmp_path / "torn.zip", members, manifest["files"]))
    assert held(cache) == before
