"""Times of kernels that nobody has to measure again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gacer_tune import preparing
from gacer_tune.ir.workload import Workload
from gacer_tune.preparing import known_times, profile_code
from gacer_tune.store.cache import Cache
from gacer_tune.store.exchange import export, take
from gacer_tune.store.schedules import Record
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
