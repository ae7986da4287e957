"""Times of kernels that nobody has to measure again, and kernels that are gone when they are needed."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from gacer_tune import preparing
from gacer_tune.ir.workload import Workload
from gacer_tune.kernels.build import Progress, build
from gacer_tune.kernels.rules import Source
from gacer_tune.preparing import known_times, link_module, profile_code
from gacer_tune.store.cache import Cache
from gacer_tune.store.exchange import export, take
from gacer_tune.store.schedules import Record
from gacer_tune.tenants import functions
from tests.support.compiled import silent, tiny
from tests.support.records import HERE, NOW_S, PAIR, made


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(preparing, "host_fingerprint", lambda: HERE)
    monkeypatch.setattr(preparing, "device_key", lambda _: HERE.key())
    return Cache(tmp_path / "cache")


def arrive(cache: Cache, *sent: Record) -> Cache:
    """The cache after it has taken these records from a file."""
    path = cache.root.parent / "sent.zip"
    export(sent, path)
    assert [arrival.verdict for arrival in take(cache, path, NOW_S)] == ["taken"] * len(sent)
    return cache


def test_times_of_an_imported_schedule_are_used(cache: Cache) -> None:
    assert known_times(PAIR, 2, cache) is None
    record = made(profiled_by=profile_code())
    arrive(cache, record)
    renamed = Workload((replace(PAIR.tenants[0], name="other"), PAIR.tenants[1]))
    for workload in (PAIR, renamed):
        assert known_times(workload, 2, cache) == (workload, record.profile)


def test_times_from_elsewhere_are_not_used(cache: Cache) -> None:
    code = profile_code()
    retrained = Workload((replace(PAIR.tenants[0], model="retrained"), PAIR.tenants[1]))
    arrive(
        cache,
        made(fingerprint=replace(HERE, cores=64), profiled_by=code),
        made(retrained, profiled_by=code),
        made(objective="slo", profiled_by="another version"),
        made(objective="throughput"),
    )
    assert known_times(PAIR, 2, cache) is None
    arrive(cache, made(profiled_by=code))
    assert known_times(PAIR, 1, cache) is None, "measured with two lanes"
    assert known_times(PAIR, 2, cache) is not None


def test_kernels_that_the_cache_gives_up_before_they_are_linked_are_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when `cache gc` runs meanwhile."""
    compiled, swept = tiny().compiled, list[int]()
    names = functions(compiled.workload)[:2]

    def build_and_sweep(sources: Iterable[Source], cache: Cache, workers: int, progress: Progress) -> dict[str, Path]:
        found = build(sources, cache, workers, progress)
        if not swept:
            swept.append(len(cache.gc(max_bytes=0)))
        return found

    monkeypatch.setattr(preparing, "build", build_and_sweep)
    module = link_module(compiled, names, Cache(tmp_path), silent)
    assert swept == [2]
    assert all(hasattr(ctypes.CDLL(str(module)), name) for name in names)
