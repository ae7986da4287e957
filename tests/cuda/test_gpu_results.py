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

from tests.gpu import results

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
    wrong = {"outputs": {"ok": True}, "exactness": {"ok": False}, "ok": False}
    first, *lines = results.checks({"a": {"ok": True}, "b": wrong, "c": results.CRASHED}).splitlines()
    assert first == "checked: 1 ok, 2 not"
    assert [line.split(maxsplit=1) for line in lines] == [["b", "wrong: exactness"], ["c", results.CRASHED["failed"]]]


def test_the_table_shows_what_was_measured_and_what_was_not() -> None:
    rows: dict[str, Any] = {
        "a+b": {
            "baseline_s": 0.002, "best_s": 0.001, "gain": 2.0, "torch_s": {"torch graph": 0.003},
            "against": 3.25, "launch_s": 9e-6, "empty_s": 12.34e-6,
        },
        "c": {"failed": "no time left"},
        "d": {
            "baseline_s": 0.002, "best_s": 0.001, "gain": 2.0, "torch_failed": "no Erf\nat all",
            "launch_s": 1e-6, "empty_s": 2e-6,
        },
    }  # fmt: skip
    _, first, second, third, torch, launches = results.table(rows).splitlines()
    assert first.split() == ["a+b", "2.000", "1.000", "2.00x", "3.000", "3.25x", "9.0", "12.3"]
    assert second.split() == ["c", "no", "time", "left"]
    assert third.split()[-4:] == ["-", "-", "1.0", "2.0"] and torch.strip() == "PyTorch: no Erf"
    assert launches == "launch overhead: 12.3 us at most, wanted are 15: kept"
    rows["d"]["launch_s"] = 15.1e-6
    assert results.table(rows).splitlines()[-1] == "launch overhead: 15.1 us at most, wanted are 15: NOT kept"


def test_tables_of_several_calls_are_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "measure.json").write_text(json.dumps({name: {"failed": f"{name} is late"}}))
    assert results.main([tmp_path / "a", tmp_path / "b"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in shown[-2:]] == [["a", "a is late"], ["b", "b is late"]]
