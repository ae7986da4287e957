"""What is run on a GPU machine, gone through here without a GPU: a bundle, its checks, its measurements, the script."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gacer_tune.cost_model.profile import Profile
from gacer_tune.kernels.cuda.gpu import Precision
from gacer_tune.store.cache import Cache
from models import MODELS
from tests.gpu import bundle, check, likeness, measure, results
from tests.gpu.bundle import Bundle
from tests.gpu.mixes import open_mix
from tests.support.small_models import SMALL

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tests" / "gpu" / "run_all.sh"


def archived(bundled: Path) -> Path:
    """The same as archives, as they are sent."""
    for folder in [path for path in bundled.iterdir() if path.is_dir()]:
        with tarfile.open(bundled / f"{folder.name}.tar.xz", "w:xz") as tar:
            tar.add(folder, folder.name)
        shutil.rmtree(folder)
    return bundled


def test_a_bundle_is_checked_and_measured(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked = bundled / "check.json"
    assert check.main([str(bundled), "--json", str(checked), "--dry-run"]) == 0
    (found,) = results.known(checked).values()
    assert found["ok"] and found["exactness"]["schedules"] == 1 + check.SCHEDULES
    assert set(found["outputs"]["errors"]) == {"0/tiny_mlp", "1/tiny_branchy"}
    times = bundled / "measure.json"
    assert measure.main([str(bundled), "--json", str(times), "--shares", "--dry-run"]) == 0
    (row,) = results.known(times).values()
    baselines = {"sequential", "lane_per_tenant", "breadth_first"}
    assert set(row["baselines_s"]) == set(row["pairs_s"]) == set(row["gains"]) == baselines
    assert row["best_s"] > 0 and min(row["gains"].values()) > 0 and row["tried"] > 0 and row["search_s"] > 0
    assert row["nodes"] > 3 and row["launch_s"] > 0 and row["empty_s"] > 0 and row["flush_s"] > 0
    assert len(Profile.from_json(row["profile"]).alone) == 2
    line, _, _, launches = capsys.readouterr().out.splitlines()[-4:]
    assert line.startswith("tiny_mlp+tiny_branchy-b1-fp16-small") and launches.startswith("launch overhead: ")


def test_wrong_outputs_fail_the_check(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "check_outputs", lambda *_: {"ok": False})
    assert check.main([str(bundled), "--json", str(bundled / "check.json"), "--dry-run"]) == 3


def test_parts_hold_whole_mixes_and_no_more_than_can_be_sent(tmp_path: Path) -> None:
    mixes = []
    for name, sizes in (("a", (40, 30)), ("b", (20,)), ("c", (15,)), ("d", (200,)), ("e", (1,))):
        mixes.append([tmp_path / f"{name}{number}" for number in range(len(sizes))])
        for path, size in zip(mixes[-1], sizes, strict=True):
            path.write_bytes(bytes(size))
    found = bundle.parts(mixes, 100)
    assert [[path.name for path in part] for part in found] == [["a0", "a1", "b0"], ["c0"], ["d0"], ["e0"]]
    found = bundle.parts(mixes[:2], 60)
    assert [[path.name for path in part] for part in found] == [["a0"], ["a1", "b0"]], "no whole mix fits"


def test_a_part_is_no_larger_than_what_can_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the runtime that each has, and the packages that the other machine lacks."""
    monkeypatch.setattr(bundle, "copy_runtime", lambda site: (site / "runtime").write_bytes(bytes(30)))
    archives = [tmp_path / f"{name}-b1.tar.xz" for name in "ab"]
    for path in archives:
        path.write_bytes(bytes(40))
    with zipfile.ZipFile(wheel := tmp_path / "ffi.whl", "w") as content:
        content.writestr("tvm_ffi/__init__.py", "x" * 20)
    for wheels in ((), (wheel,)):
        bundle.write_parts(tmp_path / ".", [[path] for path in archives], 100, wheels)
        assert {path.name for path in (tmp_path / "1").iterdir()} == {"site", "a-b1.tar.xz"}
        assert {path.name for path in (tmp_path / "2").iterdir()} == {"site", "b-b1.tar.xz"}
        assert (tmp_path / "1" / "site" / "tvm_ffi").exists() == bool(wheels)
        assert ("must have apache-tvm-ffi" in capsys.readouterr().err) != bool(wheels)


@pytest.mark.parametrize("small", [True, False])
def test_a_bundle_is_packed_once_and_sent_in_parts(
    small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of large models are drawn where they are read, and are like those that were left behind."""
    monkeypatch.setattr(bundle, "module_of", lambda *_: b"library")
    monkeypatch.setattr(bundle, "MODELS", {"tiny_mlp": lambda batch: MODELS["tiny_mlp"](batch=batch, hidden=256)})
    made, mixes = Bundle("tiny_mlp", 2, "fp16", small), tmp_path / "mixes"
    mixes.mkdir()
    archive = bundle.pack(made, mixes, Cache(tmp_path / "cache"), 1)
    monkeypatch.setattr(bundle, "write", None)
    assert bundle.pack(made, mixes, Cache(tmp_path / "cache"), 1) == archive
    assert [path.name for path in mixes.iterdir()] == [archive.name]
    (tmp_path / "2").mkdir()
    bundle.write_parts(tmp_path, [[archive]], 1 << 30)
    assert not (tmp_path / "2").exists(), "of an earlier bundle"
    with tarfile.open(tmp_path / "1" / archive.name) as tar:
        tar.extractall(tmp_path / "there", filter="data")
    mix = open_mix(tmp_path / "there" / made.name, 2, True)
    weights = dict(likeness.read_weights(tmp_path / "there" / made.name))
    contents = {b.content for tenant in mix.workload.tenants for b in tenant.buffers if b.kind == "weight"}
    assert set(weights) == contents and mix.workload.tenants[0].batch == 2
    assert any(tensor.doc_string for tensor in onnx.load(str(mix.canonical[0])).graph.initializer)
    assert (tmp_path / "there" / made.name / "weights.json").exists() != small


def test_likenesses() -> None:
    rng = np.random.default_rng(0)
    large = (rng.standard_normal((300, 300)) * 0.5 + 3).astype(np.float16)
    like = likeness.described(large)
    assert like is not None and likeness.described(large[:8, :8]) is None
    assert likeness.described(large.astype(np.int64)) is None
    again = likeness.drawn("w", large.shape, "float16", like)
    assert (again.shape, again.dtype) == (large.shape, large.dtype)
    assert abs(float(again.astype(np.float64).mean()) - 3) < 0.01
    assert abs(float(again.astype(np.float64).std()) - 0.5) < 0.01
    assert (again == likeness.drawn("w", large.shape, "float16", like)).all()
    assert (again != likeness.drawn("v", large.shape, "float16", like)).any()


def test_models_travel_without_their_large_weights() -> None:
    model = SMALL["resnet18"]()
    light = likeness.without_weights(model)
    assert len(light.SerializeToString()) < 0.3 * len(model.SerializeToString())
    full = likeness.with_weights(light)
    onnx.checker.check_model(full)
    shapes = [(t.name, tuple(t.dims), t.data_type) for t in model.graph.initializer]
    assert [(t.name, tuple(t.dims), t.data_type) for t in full.graph.initializer] == shapes
    drawn = {t.name: numpy_helper.to_array(t) for t in full.graph.initializer}
    same = [t.name for t in model.graph.initializer if (numpy_helper.to_array(t) == drawn[t.name]).all()]
    assert 0 < len(same) < len(drawn), "what is small stays as it is"


def test_the_script_goes_through_everything(bundled: Path, tmp_path: Path) -> None:
    command = ["sh", str(SCRIPT), str(archived(bundled)), str(tmp_path / "results"), "--dry-run"]
    torch, asked = tmp_path / "torch.py", tmp_path / "asked"
    torch.write_text(f"import sys\nopen({str(asked)!r}, 'a').write(sys.argv[0] + '\\n')\nraise ImportError('not here')")
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {Path(line).name for line in asked.read_text().splitlines()} == {"measure.py"}, "checks do without PyTorch"
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "check.json",
        "measure.json",
        "shares.json",
    ]
    headings = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    assert [line.split(" ")[1] for line in headings] == ["correctness,", "shares", "plans", "in"]
    assert "a dry run" in headings[-1]
    last = done.stdout.partition(f"{headings[-1]}\n")[2].splitlines()
    assert last[0] == "checked: 1 ok, 0 not"
    assert last[1].startswith("fp16: outputs of 2 tenants differ") and last[2].startswith("exactness: 13 schedules, 0 ")
    name = "tiny_mlp+tiny_branchy-b1-fp16-small"
    assert [line.split()[0] for line in last[3:]] == ["shares", name, "mix", name, "against", name, "launch"]
    assert last[4].endswith("same  ok")


@pytest.mark.slow
def test_the_script_survives_a_mix_that_ends_the_process(bundled: Path, tmp_path: Path) -> None:
    """The weights of the first mix are missing: what comes after it is done all the same, and the table tells."""
    (name,) = (path.name for path in bundled.iterdir())
    shutil.copytree(bundled / name, bundled / f"a-{name}")
    (bundled / f"a-{name}" / "weights.safetensors").unlink()
    command = ["sh", str(SCRIPT), str(archived(bundled)), str(tmp_path / "results"), "--dry-run"]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    last = done.stdout.partition("== in short")[2].splitlines()[1:]
    assert last[0] == "checked: 1 ok, 1 not"
    crashed = [line for line in last if line.startswith("a-")]
    assert len(crashed) == 3, "checks, shares, times"
    for line in crashed:
        mix, why = line.replace("NOT MEASURED: ", "").split(maxsplit=1)
        assert mix == f"a-{name}" and why.startswith("FileNotFoundError: ") and "weights.safetensors" in why
    assert [line.split()[1].replace(".", "").isdigit() for line in last if line.startswith(name)] == [True, True, False]


def test_without_a_gpu_there_is_one_message_and_nothing_else(bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    command = ["sh", str(SCRIPT), str(archived(bundled)), str(tmp_path / "results")]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path / "temporary")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2 and done.stdout == ""
    (message,) = done.stderr.splitlines()
    assert message.endswith(": nothing was begun")
    assert not (tmp_path / "results").exists() and not list((tmp_path / "temporary").iterdir())


@pytest.mark.slow
def test_the_script_survives_a_broken_archive_and_a_full_disk(bundled: Path, tmp_path: Path) -> None:
    """Where the usual place is full, mixes are unpacked beside the part, and nothing of it stays there."""
    (name,) = (path.name for path in bundled.iterdir())
    archived(bundled)
    (bundled / "a-broken-small.tar.xz").write_bytes(b"cut off")
    before = sorted(bundled.iterdir())
    full = tmp_path / "bin"
    full.mkdir()
    (full / "df").write_text("#!/bin/sh\necho; echo none 0 0 0\n")
    (full / "df").chmod(0o755)
    command = ["sh", str(SCRIPT), str(bundled), str(tmp_path / "results"), "--dry-run"]
    environment = {"PYTHON": sys.executable, "PATH": f"{full}:/usr/bin:/bin", "TMPDIR": str(tmp_path / "none")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1 and sorted(bundled.iterdir()) == before
    measured = results.known(tmp_path / "results" / "measure.json")
    assert measured["a-broken-small"]["failed"].startswith("JSONDecodeError: ") and measured[name]["best_s"] > 0


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


NEEDED = {
    "numpy",
    "onnx",
    "onnxruntime",
    "safetensors",
    "cuda",
    "tvm_ffi",
    "torch",
}  # of the GPU machine (docs/cuda.md)
BROUGHT = {"google", "ml_dtypes", "typing_extensions", "cython_runtime"}  # by these


def test_the_scripts_import_what_a_gpu_machine_has() -> None:
    """And what is in the bundle's site: nothing of the tuner's other packages."""
    modules = "tests.gpu.here, tests.gpu.check, tests.gpu.shares, tests.gpu.measure, tests.gpu.tables, onnxruntime"
    modules += ", gacer_tune.devices.worker"
    modules += ", gacer_tune.executor.cuda.nvidia, gacer_tune.bench.torch_peer"
    said = f"import sys; sys.modules['torch'] = None; before = set(sys.modules); import {modules}; "
    said += "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {name for name in done.stdout.split() if not name.startswith("_")}
    assert found <= {"gacer_tune", "tests", "tvm", *NEEDED, *BROUGHT, *bundle.CARRIED}
    text = (ROOT / "docs" / "cuda.md").read_text()
    must = text.partition("The other machine must have")[2].partition("Third,")[0]
    names = {"cuda": "cuda-bindings", "tvm_ffi": "apache-tvm-ffi", "torch": "PyTorch"}
    assert all(names.get(name, name) in must for name in NEEDED)


def test_a_wheel_that_is_not_there_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bundle.main([str(tmp_path / "out"), "--wheel", str(tmp_path / "none.whl")])
    assert "none.whl: no such wheel" in capsys.readouterr().err and not (tmp_path / "out").exists()
