"""What the collection of a cache takes, and what it spares."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.store.cache import Cache

from .entries import KEY, OTHER, THIRD, age, files


def test_an_entry_just_used_survives_the_collection(cache: Cache) -> None:
    paths = [cache.put(key, b"x" * 10) for key in (KEY, OTHER, THIRD)]
    for path, seconds in zip(paths, (300, 200, 100), strict=True):
        age(path, seconds)
    assert cache.get(KEY) == paths[0]
    assert [entry.key for entry in cache.gc(max_bytes=20)] == [OTHER]
    assert [entry.key for entry in cache.gc(max_bytes=19)] == [THIRD]
    assert [entry.key for entry in cache.list()] == [KEY]
    assert cache.gc(max_bytes=10) == ()


def test_what_was_not_used_for_long_is_collected(cache: Cache) -> None:
    paths = [cache.put(key, b"x") for key in (KEY, OTHER)]
    age(paths[0], 100)
    assert cache.gc(max_age_s=200) == ()
    assert cache.gc() == ()
    assert [entry.path for entry in cache.gc(max_age_s=50)] == [paths[0]]
    assert [entry.path for entry in cache.gc(max_bytes=0)] == [paths[1]]
    assert files(cache.root) == []


def test_an_entry_used_while_the_collection_runs_survives(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.put(KEY, b"x")
    age(path, 100)
    listed = cache.list()
    assert cache.get(KEY) == path
    monkeypatch.setattr(Cache, "list", lambda _: listed)
    assert cache.gc(max_bytes=0) == ()
    assert path.exists()


def test_the_collection_sweeps_old_remains_and_spares_young_ones(cache: Cache) -> None:
    cache.put(KEY, b"code").write_bytes(b"dead")
    assert cache.get(KEY) is None
    remains = [cache.root / "unfinished" / name for name in ("old", "young")]
    for path in remains:
        path.write_bytes(b"half")
    age(remains[0], 2 * 3600)
    cache.gc(max_age_s=1000)
    assert remains[1].exists()
    assert not remains[0].exists()
    assert len(list((cache.root / "corrupt").iterdir())) == 1
    age(next((cache.root / "corrupt").iterdir()), 1001)
    cache.gc(max_age_s=1000)
    assert list((cache.root / "corrupt").iterdir()) == []


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 40)), max_size=10), st.integers(0, 200))
@settings(max_examples=50, deadline=None)
def test_a_collection_removes_the_least_recently_used_and_no_more(puts: list[tuple[int, int]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        for number, nbytes in puts:
            cache.put(f"{number:08x}", b"x" * nbytes)
        before = cache.list()
        removed = cache.gc(max_bytes=limit)
        kept = cache.list()
        assert sum(entry.nbytes for entry in kept) <= limit
        assert (*kept, *reversed(removed)) == before
        if removed:
            assert sum(entry.nbytes for entry in (*kept, removed[-1])) > limit


def test_garbage_of_one_kind_is_collected_alone(cache: Cache) -> None:
    code = cache.put(KEY, b"code" * 100, ".o")
    weights = [cache.put(key, b"weights" * 100, ".bin") for key in (OTHER, THIRD)]
    age(weights[0], 60)
    assert [entry.path for entry in cache.gc(800, suffix=".bin")] == [weights[0]]
    assert code.exists() and weights[1].exists()
