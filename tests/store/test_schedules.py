"""Records of finished searches: what they are found by, what is refused, which of two stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Op, Workload
from gacer_tune.store.cache import Cache
from gacer_tune.store.schedules import MOST_LANES, SUFFIX, find, keep, key_of, parse, put, records
from tests.support.records import HERE, NOW_S, PAIR, RESULT, made
from tests.support.workloads import quick, scheduled


def test_what_is_written_is_read_back(cache: Cache) -> None:
    record = made()
    assert parse(record.to_bytes()) == record
    put(cache, record)
    assert find(cache, record.key) == record
    assert [entry.path.suffix for entry, _ in records(cache)] == [SUFFIX]


@quick
@given(scheduled(), st.floats(1e-6, 1e6))
def test_any_legal_schedule_is_read_back(workload_and_schedule: Any, best_s: float) -> None:
    workload, schedule = workload_and_schedule
    record = made(workload, best_s, schedule=schedule, trials=())
    assert parse(record.to_bytes()) == record


def same_models(**fields: Any) -> Workload:
    return Workload((replace(PAIR.tenants[0], **fields), PAIR.tenants[1]))


def test_the_key_holds_all_that_changes_the_answer() -> None:
    keys = [
        key_of(PAIR, "makespan", 2, HERE),
        key_of(PAIR, "makespan", 1, HERE),
        key_of(PAIR, "throughput", 2, HERE),
        key_of(PAIR, "makespan", 2, replace(HERE, cores=4)),
        key_of(PAIR, "makespan", 2, replace(HERE, packages=(("apache-tvm", "0.28.0"),))),
        key_of(same_models(model="retrained"), "makespan", 2, HERE),
        key_of(same_models(batch=4), "makespan", 2, HERE),
        key_of(same_models(weight=2.0), "makespan", 2, HERE),
        key_of(same_models(slo_s=0.1), "makespan", 2, HERE),
        key_of(Workload(PAIR.tenants[::-1]), "makespan", 2, HERE),
        key_of(Workload(PAIR.tenants, "cuda"), "makespan", 2, HERE),
        key_of(Workload(PAIR.tenants, "cuda"), "makespan", 2, HERE, '{"gpu":"a","precision":"fp16"}'),
        key_of(Workload(PAIR.tenants, "cuda"), "makespan", 2, HERE, '{"gpu":"a","precision":"fp32"}'),
    ]
    assert len(set(keys)) == len(keys)


def test_names_and_selected_variants_are_not_in_the_key() -> None:
    """Both differ from run to run without changing what is run."""
    kernel = PAIR.tenants[0].ops[0].kernels[0]
    fewer = Op("op0", "conv2d", (replace(kernel, variants=kernel.variants[1:]),))
    other = same_models(name="detector", ops=(fewer, *PAIR.tenants[0].ops[1:]))
    assert key_of(other, "makespan", 2, HERE) == key_of(PAIR, "makespan", 2, HERE)
    assert key_of(PAIR, "makespan", 2, replace(HERE, python="3.12", memory_nbytes=1)) == made().key


Edit = Callable[[dict[str, Any]], Any]


def buffers(document: dict[str, Any]) -> Any:
    return document["workload"]["tenants"][0]["buffers"][0]


HOSTILE: list[tuple[Edit, str]] = [
    (lambda d: d.clear(), "not a record of a schedule"),
    (lambda d: d.update(kind="something"), "not a record of a schedule"),
    (lambda d: d.update(format=99), "format 99, this version reads 1"),
    (lambda d: d.pop("profile"), "'profile'"),
    (lambda d: d.update(trials=7), "not a record"),
    (lambda d: d.update(objective="speed"), "makespan"),
    (lambda d: d.update(made_s="soon"), "could not convert"),
    (lambda d: d.update(made_s=-1), "finite numbers above 0"),
    (lambda d: d["result"].update(best_s=0.0), "finite numbers above 0"),
    (lambda d: d["result"].update(best_s="0.1"), "best_s: Input should be a valid number"),
    (lambda d: d.update(gpu="h100"), "target cpu: gpu 'h100'"),
    (lambda d: d.update(gpu=7), "Input should be a valid string"),
    (lambda d: d["result"].update(p_value=1.5), "from 0 to 1"),
    (lambda d: d["result"].update(baseline=None), "baseline: Input should be a valid string"),
    (lambda d: d["fingerprint"].update(cores="many"), "cores: Input should be a valid integer"),
    (lambda d: d["workload"].update(target="tpu"), "target 'tpu'"),
    (lambda d: d["workload"].update(format=2), "workload format 2"),
    (lambda d: d["workload"]["tenants"][0].update(name={"a": 1}), "name: Input should be a valid string"),
    (lambda d: buffers(d).update(nbytes="8"), "nbytes: Input should be a valid integer"),
    (lambda d: buffers(d).update(kind="code"), "Input should be 'input', 'output', 'weight' or 'value'"),
    (lambda d: buffers(d).update(module="os"), "unexpected keyword argument"),
    (lambda d: d["schedule"].update(lanes=MOST_LANES + 1), "lanes: 4097, at most 4096"),
    (lambda d: d["schedule"]["clusters"][0].update(order=[0, 0]), "order [0, 0]"),
    (lambda d: d["schedule"].update(variants=[[9, 0, 0], [0, 0]]), "variant 9, allowed are 0 to 1"),
    (lambda d: d["trials"][0]["schedule"].update(first=[]), "first: 0 rows"),
    (lambda d: d["profile"]["alone"][0].pop(), "profile: "),
    (lambda d: [d["profile"][side][1].pop() for side in ("alone", "shared")], "the workload has"),
]


@pytest.mark.parametrize(("edit", "reason"), HOSTILE)
def test_what_is_no_record_is_refused_in_words(edit: Edit, reason: str) -> None:
    document = json.loads(made().to_bytes())
    edit(document)
    with pytest.raises(ValueError) as caught:
        parse(json.dumps(document).encode())
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[" * 100_000, b"NaN", b'{"kind": "gacer-tune schedule", "format": 1, "made_s": NaN}', b"[]", b"1"],
)
def test_what_is_no_json_of_a_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse(data)


def test_infinities_in_disguise_are_refused() -> None:
    text = made().to_bytes().decode()
    for number in ("1e999", "-1e999"):
        with pytest.raises(ValueError):
            parse(text.replace('"best_s":0.015', f'"best_s":{number}').encode())


@quick
@given(st.data())
def test_no_damage_is_worse_than_a_value_error(data: st.DataObject) -> None:
    """Any part of a record replaced by any other small value is read or refused, never anything else."""
    document: Any = json.loads(made().to_bytes())
    at = document
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(at[key], (dict, list)) and at[key]) or data.draw(st.integers(0, 3)) == 0:
            break
        at = at[key]
    odd = st.sampled_from([None, -1, 0, 1e300, 10**30, "x", [], {}, [[]], True])
    at[key] = data.draw(odd)
    try:
        parse(json.dumps(document).encode())
    except ValueError as error:
        assert str(error)


def test_a_damaged_or_newer_record_is_a_miss_not_an_error(cache: Cache) -> None:
    record = made()
    put(cache, record)
    cache.put(record.key, b'{"kind": "gacer-tune schedule", "format": 99}', SUFFIX)
    assert find(cache, record.key) is None
    assert records(cache) == []
    assert find(cache, "0" * 64) is None


def test_the_latest_is_listed_first_and_other_entries_are_passed_over(cache: Cache) -> None:
    old, new = made(objective="slo"), made(made_s=NOW_S + 5)
    for record in (new, old):
        put(cache, record)
    cache.put_json("ab" * 16, {"workload": "not one of ours"})
    assert [record for _, record in records(cache)] == [new, old]


def test_to_look_at_records_is_not_to_use_them(cache: Cache) -> None:
    for objective in ("makespan", "slo", "throughput"):
        put(cache, made(objective=objective))
    before = cache.list()
    assert len(records(cache)) == 3
    assert [record.objective for _, record in records(cache, 1)] == ["throughput"], "the last one that was put"
    assert cache.list() == before
    before[0].path.write_bytes(before[0].path.read_bytes() + b" ")
    assert len(records(cache)) == 2, "what does not match its hash is no record"


def test_a_later_search_replaces_an_earlier_one(cache: Cache) -> None:
    assert keep(cache, made())
    assert keep(cache, made(best_s=0.019, made_s=NOW_S + 1))
    (pair,) = records(cache)
    assert pair[1].result.best_s == 0.019


def test_nothing_found_does_not_erase_what_was_found(cache: Cache) -> None:
    found = made()
    nothing = made(result=replace(RESULT, accepted=False), schedule=sequential(PAIR, 2), made_s=NOW_S + 1)
    assert keep(cache, found)
    assert not keep(cache, nothing)
    assert find(cache, found.key) == found
    assert keep(cache, replace(nothing, objective="slo"))
    assert keep(cache, made(made_s=NOW_S + 2))
