"""What MetaSchedule found is found again, and nothing is taken from a record or a process that went wrong."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from gacer_tune.cli.given import read_settings
from gacer_tune.errors import UserError
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.rules import Source, candidates
from gacer_tune.metaschedule import compiling, records
from gacer_tune.metaschedule import search as searching
from gacer_tune.metaschedule.records import Attempt, KernelRecord, find, parse, put
from gacer_tune.metaschedule.search import Searched, usable
from gacer_tune.metaschedule.timing import measure
from gacer_tune.search.trial import Failure, Timing
from gacer_tune.store import exchange
from gacer_tune.store.cache import Cache
from gacer_tune.store.fingerprint import host_fingerprint
from tests.support.scheduled import CONV, CPUS, MACHINE, MATMUL, TRIALS, empty, place, searched, tile_of


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a search that was made once for all tests."""
    folder = tmp_path_factory.getbasetemp() / "metaschedule-cache"
    searched(folder)
    return folder


def test_what_is_known_is_not_searched_again(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(searching, "ask", lambda *request: asked.append(request))
    kernels = [Searched(Source(r.spec, candidates(r.spec, MACHINE)[0], MACHINE), r) for r in searched(cached)]
    again = searching.search(kernels, TRIALS, place(cached))
    found = [usable(record, Cache(cached)) for record in again]
    assert not asked
    assert tuple(again) == searched(cached)
    assert [one.tile for one in found if one] == [record.best for record in again]


def test_a_larger_budget_goes_on_where_the_search_ended(cached: Path, tmp_path: Path) -> None:
    record = searched(cached)[1]
    ours = Source(MATMUL, candidates(MATMUL, MACHINE)[0], MACHINE)
    (more,) = searching.search([Searched(ours, record)], TRIALS + 1, place(tmp_path))
    assert more.attempts[:TRIALS] == record.attempts
    assert len(more.attempts) == len({attempt.tile for attempt in more.attempts}) == more.asked == TRIALS + 1


def test_another_machine_has_another_record(cached: Path) -> None:
    record = searched(cached)[0]
    elsewhere = replace(host_fingerprint(), cpu="another")
    assert find(Cache(cached), KernelRecord(CONV, MACHINE, elsewhere)).attempts == ()
    assert replace(record, fingerprint=elsewhere).key != record.key
    assert replace(record, spec=MATMUL).key != record.key


def damaged(record: KernelRecord) -> list[bytes]:
    """Bytes that are no record of this kernel."""
    text = record.to_bytes()
    first, _, rest = text.partition(b"\n")
    return [
        b"",
        b"no json\n",
        text[: len(text) // 2],
        first.replace(b'"format":1', b'"format":2') + b"\n" + rest,
        first.replace(b"gacer_tune.kernels.conv2d", b"subprocess") + b"\n" + rest,
        text.replace(b'"count":', b'"count":-'),
        replace(record, spec=MATMUL).to_bytes(),
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_damaged_record_is_ignored_with_one_warning(
    cached: Path, tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    record = searched(cached)[0]
    store = Cache(tmp_path)
    store.put(record.key, damaged(record)[number], records.SUFFIX)
    with caplog.at_level(logging.WARNING):
        assert find(store, empty(CONV)) == empty(CONV)
    assert len(caplog.records) == 1 and "ignored" in caplog.text


def test_a_record_survives_its_file(cached: Path) -> None:
    for record in (*searched(cached), empty(CONV)):
        assert parse(record.to_bytes()) == record
    failed = replace(empty(CONV), attempts=(Attempt(tile_of(CONV), Failure("crash", "SIGSEGV")),), asked=1)
    assert parse(failed.to_bytes()) == failed
    assert failed.best is None and usable(failed, Cache(cached)) is None


def test_a_record_whose_decisions_make_no_kernel_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    attempt = Attempt(replace(tile_of(CONV), count=8), Timing((1.0,), (1.0,)))
    record = replace(empty(CONV), attempts=(attempt,), asked=1)
    put(Cache(tmp_path), record)
    with caplog.at_level(logging.WARNING):
        assert usable(find(Cache(tmp_path), empty(CONV)), Cache(tmp_path)) is None
    assert "9 work items, not 8" in caplog.text


def test_a_candidate_that_hangs_or_crashes_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text(
        "import json, sys, time\n"
        "def say(line): print(json.dumps(line), flush=True)\n"
        "tile = {'space': 0, 'decisions': [[1]], 'count': 1}\n"
        "say({'tile': tile}); say({'compiled': 'a'})\n"
        "say({'tile': {**tile, 'count': 2}}); say({'refused': 'no'})\n"
        "say({'tile': {**tile, 'count': 3}}); sys.argv[1] == 'hang' and time.sleep(60); sys.exit(1)\n"
    )
    monkeypatch.setattr(compiling, "COMPILE_S", 0.3)
    for how, kind in (("hang", "timeout"), ("crash", "crash")):
        folder = tmp_path / how
        folder.mkdir()
        answers = compiling.ask({}, folder, [sys.executable, str(tmp_path / "slow.py"), how])
        assert list(answers.compiled.values()) == [folder / "a.o"]
        assert list(answers.refused.values()) == ["no"]
        assert {tile.count: failure.kind for tile, failure in answers.failed.items()} == {3: kind}
        assert answers.trouble == ""


def test_that_metaschedule_does_not_run_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = compiling.Answers(trouble="ModuleNotFoundError: No module named 'psutil'")
    monkeypatch.setattr(searching, "ask", lambda *_: broken)
    ours = Source(CONV, candidates(CONV, MACHINE)[0], MACHINE)
    with pytest.raises(UserError, match=r"kernels metaschedule: .*psutil.*use kernels own"):
        searching.search([Searched(ours, empty(CONV))], 1, place(tmp_path))


def test_other_bits_are_a_failure_of_the_candidate(tmp_path: Path) -> None:
    """The code of another kernel under the name of a candidate."""
    ours = Source(CONV, candidates(CONV, MACHINE)[0], MACHINE)
    tried = Source(CONV, tile_of(CONV), MACHINE)
    other = replace(CONV, program=Program((Step("abs", (Arg("acc"),)), *CONV.program.steps[1:]), CONV.program.operands))
    objects = []
    for name, source in ((ours.name, ours), (tried.name, Source(other, tried.tile, MACHINE))):
        path = tmp_path / f"{name}.o"
        path.write_bytes(object_of(source, name))
        objects.append(path)
    folder = tmp_path / "child"
    folder.mkdir()
    (found,) = measure(ours, [tried], objects, folder, CPUS)
    assert isinstance(found, Failure) and found.kind == "wrong-output"


def object_of(source: Source, name: str) -> bytes:
    from gacer_tune.kernels.emit.compile import object_code

    return object_code(source.emit(name), MACHINE)


def test_options_that_cannot_be_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.touch()
    for options, message in (
        (
            {"kernels": "metaschedule", "target": "cuda", "simulate": "h100"},
            "kernels metaschedule: only with target cpu",
        ),
        ({"kernel_trials": 8}, "kernel_trials 8: only with kernels metaschedule"),
        ({"kernels": "metaschedule", "kernel_trials": 0}, "kernel-trials: 0 was given, allowed: at least 1"),
        ({"kernels": "tvm"}, "--kernels: 'tvm' was given, allowed: 'own' or 'metaschedule'"),
    ):
        with pytest.raises(UserError, match=message):
            read_settings([str(path)], options=options)
    assert read_settings([str(path)], options={"kernels": "metaschedule"}).kernel_trials == 64


def test_records_travel_with_the_schedules(cached: Path, tmp_path: Path) -> None:
    record = searched(cached)[0]
    other, file = Cache(tmp_path / "other"), tmp_path / "kernels.zip"
    exchange.export([], file, searched(cached))
    first, second = exchange.take(other, file), exchange.take(other, file)
    assert [arrival.verdict for arrival in first] == ["taken", "taken"]
    assert [arrival.verdict for arrival in second] == ["refused", "refused"]
    assert find(other, empty(CONV)) == record
    assert (found := usable(record, other)) is not None and found.tile == record.best


def test_a_changed_record_is_no_valid_one(cached: Path, tmp_path: Path) -> None:
    record = searched(cached)[0]
    name = f"kernels/{record.key}.jsonl"
    found = []
    for data in damaged(record):
        file = tmp_path / "changed.zip"
        facts = {"nbytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest = {"kind": exchange.KIND, "format": exchange.FORMAT, "files": {name: facts}}
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("manifest.json", json.dumps(manifest))
            archive.writestr(name, data)
        found += [arrival.verdict for arrival in exchange.take(Cache(tmp_path / "other"), file)]
    assert found == ["invalid"] * len(damaged(record))
