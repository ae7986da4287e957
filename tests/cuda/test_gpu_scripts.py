"""What is run on a GPU machine, gone through here without a GPU: a bundle, its checks, its measurements, the script."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from gacer_tune.kernels.cuda.gpu import Precision
from gacer_tune.store.cache import Cache
from tests.gpu import bundle, check, measure, results
from tests.gpu.bundle import Bundle

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tests" / "gpu" / "run_all.sh"


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One small mix, its library empty: a dry run loads none."""
    monkeypatch.setattr(bundle, "module_of", lambda *_: b"")
    made = Bundle("tiny_mlp+tiny_branchy", 1, "fp16", True)
    bundle.write(made, tmp_path / "bundle" / made.name, Cache(tmp_path / "cache"), 2)
    return tmp_path / "bundle"


def test_a_bundle_is_checked_and_measured(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked = bundled / "check.json"
    assert check.main([str(bundled), "--json", str(checked), "--dry-run"]) == 0
    (found,) = results.known(checked).values()
    assert found["ok"] and found["exactness"]["schedules"] == 1 + check.SCHEDULES
    assert set(found["outputs"]["errors"]) == {"0/tiny_mlp", "1/tiny_branchy"}
    times = bundled / "measure.json"
    assert measure.main([str(bundled), "--json", str(times), "--small", "--search", "0.2", "--dry-run"]) == 0
    (row,) = results.known(times).values()
    assert set(row["baselines_s"]) == {"sequential", "lane_per_tenant", "breadth_first"}
    assert row["best_s"] > 0 and row["gain"] > 0
    assert "tiny_mlp+tiny_branchy-b1-fp16-small" in capsys.readouterr().out.splitlines()[-1]


def test_wrong_outputs_fail_the_check(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "check_outputs", lambda *_: {"ok": False})
    assert check.main([str(bundled), "--json", str(bundled / "check.json"), "--dry-run"]) == 3


def test_what_ended_a_process_is_left_behind_by_the_next_one(tmp_path: Path) -> None:
    path, done = tmp_path / "results.json", list[str]()

    def part(name: str) -> dict[str, Any]:
        done.append(name)
        if name == "b":
            raise KeyboardInterrupt
        return {"ok": True}

    parts = [(name, partial(part, name)) for name in "abc"]
    with pytest.raises(KeyboardInterrupt):
        results.work_through(path, parts, 60)
    found = results.work_through(path, parts, 60)
    assert done == ["a", "b", "c"]
    assert found == results.known(path) == {"a": {"ok": True}, "b": results.CRASHED, "c": {"ok": True}}
    assert results.work_through(path, [("d", partial(part, "d"))], -1)["d"] == results.LATE
    path.write_text("{")
    assert results.known(path) == {}


def test_checks_in_short_name_what_is_wrong() -> None:
    wrong = {"outputs": {"ok": True}, "exactness": {"ok": False}, "ok": False}
    first, *lines = results.checks({"a": {"ok": True}, "b": wrong, "c": results.CRASHED}).splitlines()
    assert first == "checked: 1 ok, 2 not"
    assert [line.split(maxsplit=1) for line in lines] == [["b", "wrong: exactness"], ["c", "the process ended here"]]


def test_the_table_shows_what_was_measured_and_what_was_not() -> None:
    rows: dict[str, Any] = {
        "a+b": {"baseline_s": 0.002, "best_s": 0.001, "gain": 2.0, "torch_s": {"torch graph": 0.003}},
        "c": {"failed": "no time left"},
    }
    _, first, second = results.table(rows).splitlines()
    assert first.split() == ["a+b", "2.000", "1.000", "2.00x", "3.000", "3.00x"]
    assert second.split() == ["c", "no", "time", "left"]


def test_the_script_goes_through_everything(bundled: Path, tmp_path: Path) -> None:
    command = ["sh", str(SCRIPT), str(bundled), str(tmp_path / "results"), "--dry-run"]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["check.json", "measure.json"]
    headings = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    assert [line.split(" ")[1] for line in headings] == ["correctness,", "plans", "in"]
    last = done.stdout.partition(f"{headings[-1]}\n")[2].splitlines()
    assert last[0] == "checked: 1 ok, 0 not"
    assert [line.split()[0] for line in last[1:]] == ["mix", "tiny_mlp+tiny_branchy-b1-fp16-small"]


@pytest.mark.slow
def test_the_script_survives_a_mix_that_ends_the_process(bundled: Path, tmp_path: Path) -> None:
    """The weights of the first mix are missing: what comes after it is done all the same, and the table tells."""
    (name,) = (path.name for path in bundled.iterdir())
    shutil.copytree(bundled / name, bundled / f"a-{name}")
    (bundled / f"a-{name}" / "weights.safetensors").unlink()
    command = ["sh", str(SCRIPT), str(bundled), str(tmp_path / "results"), "--dry-run"]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    first, crashed, _, broken, whole = done.stdout.splitlines()[-5:]
    assert first == "checked: 1 ok, 1 not"
    assert crashed.split(maxsplit=1) == [f"a-{name}", "the process ended here"]
    assert broken.split(maxsplit=1) == [f"a-{name}", "the process ended here"]
    assert whole.startswith(name) and "x" in whole


@pytest.mark.parametrize("arguments", [[], ["/nowhere", "out"], [".", "out", "--dry"]])
def test_the_script_says_what_it_needs(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(["sh", str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr


def test_eight_mixes_are_measured_at_two_batches_and_checked_at_every_precision() -> None:
    wanted = bundle.wanted()
    assert len(bundle.MIXES) == 8
    assert {(b.mix, b.batch) for b in wanted if not b.small} == {(mix, n) for mix in bundle.MIXES for n in (1, 8)}
    assert {(b.mix, b.precision) for b in wanted if b.small} == {
        (mix, p) for mix in bundle.MIXES for p in get_args(Precision)
    }
