"""A module is what lies in its file now, and goes when nobody has it any more."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import pytest

import models
from gacer_tune.devices.bench import Bench
from gacer_tune.executor.session import EPOCH, LAST_EPOCH, Session
from gacer_tune.tenants import functions
from tests.support.compiled import Built, build, tiny


def opened(built: Built, path: Path) -> Session:
    """As `load` opens a module."""
    workload = built.compiled.workload
    session = Session(path, workload, built.bench.session.memory, functions(workload), built.bench.session.cpus)
    session.place_weights(built.compiled.weights.items())
    return session


def test_what_is_published_anew_is_loaded_anew(tmp_path: Path) -> None:
    """Also while the earlier one is in use: the system's loader goes by names."""
    path = tmp_path / "module.so"
    one, other = (build([(name, models.MODELS[name]())], 1, most=1) for name in ("tiny_mlp", "tiny_branchy"))
    found = []
    for built in (one, other, one):
        shutil.copyfile(built.module, tmp_path / "staged")
        (tmp_path / "staged").replace(path)
        found.append(Bench(opened(built, path)))
    expected = [one.bench.expected, other.bench.expected, one.bench.expected]
    assert [bench.expected for bench in found] == expected
    assert [bench.digest(bench.load(bench.lone())) for bench in found] == expected


def test_a_module_that_nobody_has_is_unloaded(tmp_path: Path) -> None:
    built, path = tiny(1), tmp_path / "module.so"
    shutil.copyfile(built.module, path)
    session = opened(built, path)
    assert str(path) in Path("/proc/self/maps").read_text()
    del session
    gc.collect()
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_a_name_without_a_folder_is_a_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `load(".")` has it: the system's loader would look for it among its own libraries."""
    built = tiny(1)
    shutil.copyfile(built.module, tmp_path / "module.so")
    monkeypatch.chdir(tmp_path)
    assert Bench(opened(built, Path("module.so"))).expected == built.bench.expected


def test_counters_begin_again_before_they_are_full() -> None:
    """They grow from run to run; a server may run a small model longer than they last."""
    built = tiny()
    bench = built.bench
    loaded = bench.load(bench.apart())
    bench.session._epoch = LAST_EPOCH - 2 * EPOCH
    assert [bench.digest(loaded) for _ in range(5)] == [bench.expected] * 5
    assert bench.session._epoch < LAST_EPOCH
