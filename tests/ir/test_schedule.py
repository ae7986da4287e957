import json
from dataclasses import replace

import pytest
from hypothesis import given

from gacer_tune.ir.schedule import Schedule, breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload, canonical
from tests.support.workloads import chain, quick, scheduled, workloads

TWO = Workload((chain("a", (4, 4)), chain("b", (2,))))


@quick
@given(scheduled())
def test_a_schedule_survives_json(drawn: tuple[Workload, Schedule]) -> None:
    _, schedule = drawn
    text = canonical(schedule.to_json())
    again = Schedule.from_json(json.loads(text))
    assert again == schedule
    assert again.digest == schedule.digest
    assert hash(again) == hash(schedule)


@quick
@given(workloads())
def test_a_workload_survives_json(workload: Workload) -> None:
    again = Workload.from_json(json.loads(canonical(workload.to_json())))
    assert again == workload
    assert again.key == workload.key


def test_the_empty_workload_survives_json() -> None:
    empty = Workload(())
    assert Workload.from_json(json.loads(canonical(empty.to_json()))) == empty


@pytest.mark.parametrize("make", [sequential, lane_per_tenant, breadth_first])
def test_another_format_is_refused(make: object) -> None:
    assert callable(make)
    data = make(TWO, 2).to_json() | {"format": 99}
    with pytest.raises(ValueError, match="schedule format 99: this version reads 1"):
        Schedule.from_json(data)


def test_priorities_survive_json() -> None:
    schedule = replace(sequential(TWO, 3), priorities=(0, 2))
    assert Schedule.from_json(json.loads(canonical(schedule.to_json()))) == schedule
    assert schedule.lane_priorities == (0, 2, 0)
    assert schedule.digest != sequential(TWO, 3).digest


def test_a_schedule_without_priorities_keeps_its_key_and_its_bytes() -> None:
    """Caches and artifacts from before there were any stay valid."""
    schedule = sequential(TWO, 2)
    assert list(schedule.to_json()) == ["format", "lanes", "pointers", "clusters", "chunks", "first", "variants"]
    assert schedule.digest == "516932a6edb82b8ef31571a6ba1fe3a4972956d0eafb5285f04e4bba180bb69c"


def test_another_workload_format_is_refused() -> None:
    with pytest.raises(ValueError, match="workload format None: this version reads 1"):
        Workload.from_json({"tenants": []})


def test_every_decision_changes_the_digest() -> None:
    schedules = [sequential(TWO, 2), sequential(TWO, 3), breadth_first(TWO, 2), lane_per_tenant(TWO, 2)]
    assert len({schedule.digest for schedule in schedules}) == 4


def test_the_key_follows_the_content() -> None:
    other = Workload((chain("a", (4, 5)), chain("b", (2,))))
    assert TWO.key != other.key
    assert TWO.key != Workload(TWO.tenants, target="cuda").key


def test_lanes_per_tenant_are_shared_out() -> None:
    assert lane_per_tenant(TWO, 5).clusters[0].lanes == ((0, 1), (2, 3, 4))
    assert lane_per_tenant(TWO, 2).clusters[0].lanes == ((0,), (1,))
    assert lane_per_tenant(TWO, 1).clusters[0].lanes == ((0,), (0,))
