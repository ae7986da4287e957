"""Results on a GPU: whatever ends a process costs one row, and never the table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import results, tables

ROOT = Path(__file__).parent.parent.parent


def test_what_ended_a_process_is_left_behind_by_the_next_one(tmp_path: Path) -> None:
    path, done = tmp_path / "results.json", list[str]()

    def part(name: str) -> Iterator[dict[str, Any]]:
        done.append(name)
        if name == "b":
            raise KeyboardInterrupt("b, the second one")
        yield {"ok": True}

    parts = [(name, partial(part, name)) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        results.work_through(path, parts, 60)
    found = results.work_through(path, parts, 60)
    assert done == ["a", "b", "c"]
    told = {"failed": "KeyboardInterrupt: b, the second one"}
    assert found == results.known(path) == {"a": {"ok": True}, "b": told, "c": {"ok": True}}
    path.write_text(json.dumps({"b": results.CRASHED}))
    assert results.work_through(path, parts, 60)["b"] == results.CRASHED, "a process that was killed tells nothing"
    path.write_text("{")
    assert results.known(path) == {}


def test_what_was_there_when_a_process_ended_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.json"

    def part() -> Iterator[dict[str, Any]]:
        yield {"best_s": 0.001}
        assert results.known(path) == {"a": {"best_s": 0.001}}, "at once"
        raise TypeError("PyTorch, of another version")

    with pytest.raises(TypeError):
        results.work_through(path, [("a", part)], 60)
    assert results.known(path) == {"a": {"best_s": 0.001, "failed": "TypeError: PyTorch, of another version"}}


def test_what_there_is_no_time_for_has_a_row_each(tmp_path: Path) -> None:
    parts = [(name, partial(pytest.fail, "not begun")) for name in "ab"]
    path = tmp_path / "results.json"
    assert results.work_through(path, parts, -1) == results.known(path) == {"a": results.LATE, "b": results.LATE}


def test_a_part_that_hangs_ends_its_process_and_nothing_else(tmp_path: Path) -> None:
    """Also in a call that never comes back to Python: it says where on stderr."""
    said = (
        "import sys, time; from pathlib import Path; from tests.gpu.results import work_through\n"
        "def hang():\n yield {'best_s': 1.0}\n time.sleep(600)\n"
        "def right():\n yield {'best_s': 2.0}\n"
        "work_through(Path(sys.argv[1]), [('hangs', hang), ('right', right)], 60, 0.3)"
    )
    path = tmp_path / "results.json"
    command = [sys.executable, "-c", said, str(path)]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert first.returncode == 1 and "in hang" in first.stderr
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).returncode == 0
    assert results.known(path) == {"hangs": {"best_s": 1.0}, "right": {"best_s": 2.0}}


def test_checks_in_short_name_what_is_wrong() -> None:
    wrong = {"exactness": {"schedules": 5, "wrong": [{}], "ok": False}, "ok": False, "precision": "tf32"}
    right = {"exactness": {"schedules": 5, "wrong": [], "ok": True}, "ok": True, "precision": "tf32"}
    right["outputs"] = {"errors": {"0/a": 0.0012, "1/b": 0.0034}, "allowed": 0.01, "ok": True}
    faults = {"found": {"crash": "ok", "hang": "timeout expected"}, "ok": False}
    shown = tables.checks({"a": right, "b": wrong, "c": results.CRASHED, "faults": faults}).splitlines()
    assert shown[:4] == [
        "checked: 1 ok, 3 not",
        "tf32: outputs of 2 tenants differ from ONNX Runtime's by 0.34 % at most, allowed are 1 %",
        "exactness: 10 schedules, 1 without the sequential bits",
        "faults: crash: ok, hang: timeout expected",
    ]
    assert [line.split(maxsplit=1) for line in shown[4:]] == [
        ["b", "wrong: exactness"],
        ["c", results.CRASHED["failed"]],
        ["faults", "wrong: see above"],
    ]


HOST = {"tried": 50, "search_s": 10.0, "launch_s": 9e-6, "empty_s": 12.34e-6, "flush_s": 90e-6}


def test_the_table_shows_what_was_measured_and_what_was_not() -> None:
    plans = {
        "pairs_s": {"sequential": 0.002, "lane_per_tenant": 0.0015},
        "gains": {"sequential": 2.0, "lane_per_tenant": 1.5},
    }
    rows: dict[str, Any] = {
        "a+b": {
            "best_s": 0.001, **plans, **HOST, "ours_beside_s": 0.0011,
            "torch_s": {"torch eager": 0.009, "torch graph": 0.003},
            "against": {"torch eager": 8.0, "torch graph": 3.25},
        },
        "c": {"failed": "no time left"},
        "d": {"best_s": 0.001, **plans, **HOST, "torch_failed": "no Erf\nat all"},
    }  # fmt: skip
    _, *lines = tables.table(rows).splitlines()
    assert lines[0].split() == ["a+b", "1.000", "2.000", "2.00x", "1.500", "1.50x", "-", "300"]
    assert lines[1].split() == ["c", "no", "time", "left"]
    assert lines[3].split()[:3] == ["against", "PyTorch", "ours"]
    assert lines[4].split() == ["a+b", "1.100", "9.000", "8.00x", "3.000", "3.25x", "-", "9.0", "12.3"]
    assert lines[5].split() == ["d", "-", "-", "-", "-", "9.0", "12.3"] and lines[6].strip() == "PyTorch: no Erf"
    assert lines[7:] == ["launch overhead: 12.3 us at most, wanted are 15: kept"]
    rows["d"]["launch_s"] = 95e-6
    assert tables.table(rows).splitlines()[-2:] == [
        "launch overhead: 95.0 us at most, wanted are 15: NOT kept",
        "d: launched in 95 us, of which 90 are hidden: the rest is in its times",
    ]


def test_shares_in_short() -> None:
    even, eighth = (
        {"without_s": 0.001, "with_s": 0.002, "times": 2.0},
        {"without_s": 0.001, "with_s": 0.004, "times": 4.0},
    )
    kept = {"bits": {"ok": True}, "ok": True}
    rows: dict[str, Any] = {
        "a": {**kept, "even": even, "eighth": eighth, "marked": "ok"},
        "b": {**kept, "even": even, "eighth": eighth, "failed": "CudaError: 400"},
        "c": {**kept, "failed": "CudaError: 400"},
        "d": {"bits": {"ok": False}, "ok": False, "failed": "CudaError: 400"},
        "e": {"refused": "this GPU cannot", "ok": True},
        "f": results.LATE,
    }
    _, *lines = tables.shares(rows).splitlines()
    assert lines[0].split() == ["a", "1.000", "2.000", "2.00x", "1.000", "4.000", "4.00x", "same", "ok"]
    assert lines[1].split()[-3:] == ["same", "CudaError:", "400"]
    assert [line.split(maxsplit=1)[1] for line in lines[2:]] == [
        "bits are the same, NOT MEASURED: CudaError: 400",
        "bits are WRONG, NOT MEASURED: CudaError: 400",
        "NOT MEASURED: this GPU cannot",
        "NOT MEASURED: no time left",
    ]


def test_tables_of_several_calls_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "measure.json").write_text(json.dumps({name: {"failed": f"{name} is late"}}))
    assert tables.main([tmp_path / "a", tmp_path / "b"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in shown[-2:]] == [["a", "a is late"], ["b", "b is late"]]
