import hashlib
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.store.cache import Cache, Entry, default_root

from .conftest import Room, Start
from .entries import KEY, OTHER, THIRD, age, files

PUT_OFTEN = """
import sys
from pathlib import Path
from gacer_tune.store.cache import Cache
cache = Cache(Path(sys.argv[1]))
for number in range(int(sys.argv[4])):
    data = f"{sys.argv[3]} {number} ".encode() * 2000
    assert cache.put(sys.argv[2], data).read_bytes() == data
    assert cache.get(sys.argv[2]) is not None
"""


def test_what_was_put_is_got_under_its_name(cache: Cache) -> None:
    assert cache.get(KEY) is None
    assert not cache.root.exists()
    path = cache.put(KEY, b"code", ".so")
    assert path == cache.root / "ab" / f"{KEY}-{hashlib.sha256(b'code').hexdigest()}.so"
    assert cache.get(KEY) == path
    assert path.read_bytes() == b"code"
    assert cache.get(OTHER) is None
    assert files(cache.root) == [path]


def test_a_key_is_not_taken_for_one_that_it_begins(cache: Cache) -> None:
    cache.put("abababab12", b"long")
    assert cache.get("abababab") is None


@pytest.mark.parametrize("key", ["", "abc", "AB" * 32, "../../etc/passwd", "ab" * 65, "ab*?[]12", "abababab\n"])
def test_a_key_that_is_not_hex_is_refused(cache: Cache, key: str) -> None:
    with pytest.raises(ValueError, match="hex digits are allowed"):
        cache.put(key, b"")
    with pytest.raises(ValueError, match="hex digits are allowed"):
        cache.get(key)


@pytest.mark.parametrize("suffix", ["so", ".SO", "./x", ".", ".so.", "/../x"])
def test_a_suffix_cannot_lead_elsewhere(cache: Cache, suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        cache.put(KEY, b"", suffix)


def test_the_last_put_wins_even_when_the_clock_was_set_back(cache: Cache) -> None:
    first = cache.put(KEY, b"first")
    age(first, -3600)
    second = cache.put(KEY, b"second")
    assert cache.get(KEY) == second
    assert cache.put(KEY, b"first") == first
    assert cache.get(KEY) == first


def test_a_superseded_version_goes_only_when_nobody_can_just_have_received_it(cache: Cache) -> None:
    first = cache.put(KEY, b"first")
    second = cache.put(KEY, b"second")
    assert first.exists()
    age(first, 3600)
    age(second, 3500)
    third = cache.put(KEY, b"third")
    assert files(cache.root) == [third]


@pytest.mark.parametrize("content", [b"c0de", b"cod", b"", b"code and more"])
def test_a_corrupt_entry_is_a_miss_and_is_set_aside(cache: Cache, content: bytes) -> None:
    path = cache.put(KEY, b"code", ".so")
    kept = cache.put(OTHER, b"other")
    path.write_bytes(content)
    assert cache.get(KEY) is None
    assert (cache.root / "corrupt" / path.name).read_bytes() == content
    assert [entry.path for entry in cache.list()] == [kept]
    assert cache.put(KEY, b"code", ".so") == path
    assert cache.get(KEY) == path


def test_an_intact_older_version_answers_for_a_corrupt_one(cache: Cache) -> None:
    older, newer = cache.put(KEY, b"older"), cache.put(KEY, b"newer")
    newer.write_bytes(b"never")
    assert cache.get(KEY) == older


def test_verify_finds_what_is_corrupt_and_only_that(cache: Cache) -> None:
    good, bad = cache.put(KEY, b"good"), cache.put(OTHER, b"bad")
    assert cache.verify() == ()
    bad.write_bytes(b"dab")
    assert [entry.path for entry in cache.verify()] == [bad]
    assert not bad.exists()
    assert cache.verify() == ()
    assert cache.get(KEY) == good


def test_the_list_is_in_order_of_use_and_skips_strangers(cache: Cache) -> None:
    assert cache.list() == ()
    paths = [cache.put(key, key.encode()) for key in (KEY, OTHER, THIRD)]
    assert cache.get(KEY) == paths[0]
    (cache.root / "ab" / "notes.txt").write_text("")
    (cache.root / "ab" / (paths[0].name + ".so.part")).write_text("")
    (cache.root / "ab" / f"{OTHER}-{'0' * 64}").mkdir()
    (cache.root / "ef" / paths[0].name).write_bytes(KEY.encode())
    assert [entry.path for entry in cache.list()] == [paths[0], paths[2], paths[1]]
    facts = paths[0].stat()
    sha256 = hashlib.sha256(KEY.encode()).hexdigest()
    assert cache.list()[0] == Entry(KEY, sha256, paths[0], 64, facts.st_mtime_ns)


def test_writers_of_one_key_never_show_a_torn_entry(cache: Cache, start: Start) -> None:
    writers = [start(PUT_OFTEN, cache.root, KEY, writer, 60) for writer in range(3)]
    reads, deadline_s = 0, time.monotonic() + 60
    while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline_s:
        if (path := cache.get(KEY)) is not None:
            data = path.read_bytes()
            assert data == data[: len(data) // 2000] * 2000 != b""
            reads += 1
    assert [writer.wait(1) for writer in writers] == [0, 0, 0]
    assert reads > 0
    assert not (cache.root / "corrupt").exists()
    assert cache.verify() == ()
    assert list((cache.root / "unfinished").iterdir()) == []
    assert len(cache.list()) == 180


def test_a_full_disk_is_named_and_nothing_is_left_behind(cache: Cache, room: Room) -> None:
    path = cache.put(KEY, b"small")
    with room(1000), pytest.raises(UserError) as caught:
        cache.put(KEY, b"x" * 100_000)
    assert str(caught.value) == f"{cache.root}: cannot be written: the file would be larger than the system allows"
    assert files(cache.root) == [path]
    assert cache.get(KEY) == path


def test_a_failed_rename_leaves_nothing_behind(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, f"No space left on device: {self} {target}")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"cache: cannot be written: the disk is full$"):
        cache.put(KEY, b"data")
    assert files(cache.root) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"^{root}: cannot be written: a part of the path is a file, not a folder$"):
            Cache(root).put(KEY, b"")


def test_a_cache_that_cannot_be_written_can_be_read(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.put(KEY, b"data")
    corrupt = cache.put(OTHER, b"data")
    corrupt.write_bytes(b"atad")

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", read_only)
    monkeypatch.setattr(Path, "replace", read_only)
    assert cache.get(KEY) == path
    assert cache.get(OTHER) is None
    assert cache.get(OTHER) is None


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.lists(st.text(), max_size=2), max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_document_reads_back(document: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        cache.put_json(KEY, {"an": "older one"})
        assert cache.put_json(KEY, document).suffix == ".json"
        assert cache.get_json(KEY) == document


def test_what_is_no_document_is_a_miss(cache: Cache) -> None:
    assert cache.get_json(KEY) is None
    for data, suffix in (
        (b"{}", ".so"),
        (b"[]", ".json"),
        (b"{", ".json"),
        (b"\xff", ".json"),
        (b"[" * 99_999, ".json"),
    ):
        cache.put(KEY, data, suffix)
        assert cache.get_json(KEY) is None
    cache.put_json(KEY, {}).write_bytes(b'{"tampered": 1}')
    assert cache.get_json(KEY) is None
    with pytest.raises(ValueError):
        cache.put_json(KEY, {"a": float("nan")})


def test_the_root_is_the_one_named_or_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_root({"GACER_TUNE_CACHE": str(tmp_path)}) == tmp_path
    assert default_root({"GACER_TUNE_CACHE": "~/here"}) == Path.home() / "here"
    assert default_root({"GACER_TUNE_CACHE": "here"}) == Path.cwd() / "here"
    assert default_root({"GACER_TUNE_CACHE": ""}) == default_root({})
    assert default_root({}).name == "gacer-tune"
    monkeypatch.setenv("GACER_TUNE_CACHE", str(tmp_path / "env"))
    assert Cache().root == tmp_path / "env"


def test_what_a_function_writes_is_put_like_bytes(cache: Cache) -> None:
    path = cache.put_written(KEY, lambda path: path.write_bytes(b"large") and None, ".bin")
    assert path == cache.root / "ab" / f"{KEY}-{hashlib.sha256(b'large').hexdigest()}.bin"
    assert cache.get(KEY) == path


def test_a_function_that_fails_leaves_nothing_behind(cache: Cache) -> None:
    def half(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="the disk is full"):
        cache.put_written(KEY, half)
    assert files(cache.root) == []
