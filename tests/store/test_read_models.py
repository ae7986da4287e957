"""Models that are read a second time: the cache answers, and only for what is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import models
from gacer_tune import preparing
from gacer_tune.frontend import load
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.kernels.rules import Processor
from gacer_tune.preparing import read_models
from gacer_tune.settings import Settings
from gacer_tune.store.cache import Cache
from gacer_tune.store.tensors import mapped
from gacer_tune.tenant_settings import TenantSettings
from gacer_tune.tenants import Compiled, Model, assemble
from tests.support.compiled import silent

AVX2, AVX512 = MACHINES["avx2"], MACHINES["avx512"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(models.MODELS["tiny_branchy"](), str(path))
    return path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really loaded."""
    loaded: list[Path] = []
    right = load.load_model

    def counted(path: Path, *given: Any) -> onnx.ModelProto:
        loaded.append(path)
        return right(path, *given)

    monkeypatch.setattr(load, "load_model", counted)
    return loaded


def read(path: Path, cache: Cache | None, machine: Processor = AVX2, **options: Any) -> Compiled:
    tenants = (TenantSettings(name="one", path=path, **options), TenantSettings(name="two", path=path, **options))
    found: list[Model] = read_models(Settings(tenants=tenants, out=path.parent / "out"), machine, silent, cache)
    return assemble(found, machine)


def changed(path: Path) -> None:
    """One weight is another one."""
    model = onnx.load(str(path))
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = (onnx.numpy_helper.to_array(weight) + np.float32(1)).tobytes()
    onnx.save(model, str(path))


def test_what_was_read_before_is_not_loaded(path: Path, cache: Cache, loads: list[Path]) -> None:
    first, second = read(path, cache), read(path, cache)
    assert loads == [path], "once for both tenants, and never again"
    assert second.workload == first.workload
    assert list(second.sources) == list(first.sources)
    assert {c: a.tobytes() for c, a in second.weights.items()} == {c: a.tobytes() for c, a in first.weights.items()}
    apart = read(path, None)
    assert loads == [path, path]
    assert apart.workload == first.workload


def test_without_a_cache_nothing_is_written(path: Path, cache: Cache) -> None:
    read(path, None)
    assert not cache.root.exists()


def test_another_file_machine_shape_or_batch_is_loaded(path: Path, cache: Cache, loads: list[Path]) -> None:
    read(path, cache)
    read(path, cache, AVX512)
    read(path, cache, batch=2)
    read(path, cache, shapes={"input": tuple(read(path, cache).workload.tenants[0].inputs[0].shape)})
    assert len(loads) == 4
    before = read(path, cache).weights.keys()
    changed(path)
    assert read(path, cache).weights.keys() != before
    assert len(loads) == 5


def test_another_number_of_lanes_is_lowered_for(
    path: Path, cache: Cache, loads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides what becomes one kernel."""
    for lanes in (1, 2, 2):
        monkeypatch.setattr(preparing, "lanes_of", lambda _, lanes=lanes: tuple(range(lanes)))
        read(path, cache)
    assert len(loads) == 2


def test_a_file_that_is_exchanged_while_it_is_read_is_not_kept(
    path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the weights of the later file would be remembered under the digest of the earlier one."""
    right, original = load.load_model, path.read_bytes()

    def exchanging(*given: Any) -> onnx.ModelProto:
        changed(path)
        return right(*given)

    monkeypatch.setattr(load, "load_model", exchanging)
    read(path, cache)
    assert cache.list() == ()
    monkeypatch.undo()
    path.write_bytes(original)
    assert read(path, cache).weights.keys() == read(path, None).weights.keys()


def test_one_model_has_the_file_of_the_cache_and_several_have_one_of_their_own(path: Path, cache: Cache) -> None:
    other = path.with_name("other.onnx")
    onnx.save(models.MODELS["tiny_mlp"](), str(other))
    inodes = []
    for paths in ((path, path), (path, other)):
        tenants = tuple(TenantSettings(name=f"t{number}", path=name) for number, name in enumerate(paths))
        found = read_models(Settings(tenants=tenants, out=path.parent / "out"), AVX2, silent, cache)
        staged = path.parent / f"{paths[1].stem}.safetensors"
        preparing._stage_weights(staged, found, assemble(found, AVX2))
        inodes.append(staged.stat().st_ino)
        assert staged.stat().st_size > sum(array.nbytes for array in assemble(found, AVX2).weights.values())
    kept = {entry.path.stat().st_ino for entry in cache.list()}
    assert inodes[0] in kept and inodes[1] not in kept


def test_a_file_of_the_cache_that_is_gone_is_written_from_its_mapping(path: Path, cache: Cache) -> None:
    tenants = (TenantSettings(name="one", path=path),)
    found = read_models(Settings(tenants=tenants, out=path.parent / "out"), AVX2, silent, cache)
    compiled, staged = assemble(found, AVX2), path.parent / "staged"
    cache.gc(0)
    preparing._stage_weights(staged, found, compiled)
    assert {c: a.tobytes() for c, a in mapped(staged).items()} == {c: a.tobytes() for c, a in compiled.weights.items()}
