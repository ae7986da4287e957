"""Lowered models that are kept: what comes back is what was stored, and only for the same model, code and machine."""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
from dataclasses import replace
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

import models
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.shapes import input_bounds
from gacer_tune.kernels.cuda.gpu import GPUS
from gacer_tune.kernels.machine import AMX, MACHINES
from gacer_tune.kernels.rules import Processor
from gacer_tune.lowering.lower import LoweredModel, lower_model
from gacer_tune.store import lowered as stored
from gacer_tune.store.cache import Cache
from gacer_tune.store.lowered import find, keep, key_of
from gacer_tune.store.tensors import mapped

from .conftest import Start

AVX2 = MACHINES["avx2"]
NAMES = ("tiny_branchy", "tiny_attention", "tiny_mlp", "shufflenet", "mobilenet_v2", "lstm", "dlrm")
KEY = "ab" * 32

KEEP_OFTEN = """
import sys
from pathlib import Path
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.store.cache import Cache
from gacer_tune.store.lowered import find, keep
from tests.store.test_lowered import KEY, lowered
model = lowered("tiny_mlp", MACHINES["avx2"])
cache = Cache(Path(sys.argv[1]))
for _ in range(20):
    keep(cache, KEY, model)
    assert find(cache, KEY) is not None
"""


@once
def lowered(name: str, machine: Processor) -> LoweredModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        onnx.save(models.MODELS[name](), str(path))
        model = load_model(path)
    return lower_model(model, machine, input_bounds(model))


def without_weights(model: LoweredModel) -> str:
    """As text: equal numbers of different types are different kernels."""
    return repr(replace(model, weights={}, packed=None))


def weights(model: LoweredModel) -> dict[int, tuple[str, tuple[int, ...], bytes]]:
    return {number: (str(a.dtype), a.shape, a.tobytes()) for number, a in model.weights.items()}


def entries(cache: Cache, suffix: str) -> list[Path]:
    return [entry.path for entry in cache.list() if entry.path.suffix == suffix]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("machine", [AVX2, AMX, GPUS["sm_90"]], ids=["cpu", "tiles", "gpu"])
def test_what_was_kept_is_found(cache: Cache, name: str, machine: Processor) -> None:
    model = lowered(name, machine)
    kept = keep(cache, KEY, model)
    found = find(cache, KEY)
    assert found is not None
    assert without_weights(found) == without_weights(kept) == without_weights(model)
    assert weights(found) == weights(kept) == weights(model)
    assert found.packed == kept.packed == entries(cache, ".safetensors")[0]


def test_nothing_is_found_where_nothing_was_kept(cache: Cache) -> None:
    assert find(cache, KEY) is None


def test_a_key_is_of_model_machine_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> set[str]:
        machines = [*MACHINES.values(), *GPUS.values(), replace(GPUS["sm_90"], precision="tf32")]
        return {key_of(model, machine) for model in ("a", "b") for machine in machines}

    before = keys()
    assert len(before) == 2 * 6
    monkeypatch.setattr(stored, "code_version", lambda *folders: "another " + " ".join(folders))
    changed = keys()
    assert changed.isdisjoint(before)
    monkeypatch.setattr(stored, "versions", lambda *packages: "others than " + " ".join(packages))
    assert keys().isdisjoint(before | changed)


@pytest.mark.parametrize("suffix", [".lowered", ".safetensors"])
def test_a_damaged_entry_is_made_anew_with_one_warning(
    cache: Cache, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    model = lowered("tiny_mlp", AVX2)
    keep(cache, KEY, model)
    (path,) = entries(cache, suffix)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert find(cache, KEY) is None
    assert [record.message for record in caplog.records] == [f"{path}: damaged, it is made anew"]
    keep(cache, KEY, model)
    again = find(cache, KEY)
    assert again is not None and weights(again) == weights(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("ops"),
        lambda document: document["ops"].append(["a", "map", [[10**6, []]]]),
        lambda document: document["specs"][0].__setitem__(0, "os"),
        lambda document: document["specs"][0].__setitem__(1, "missing"),
        lambda document: document["buffers"][0].append(1),
    ],
)
def test_what_another_version_wrote_is_made_anew(cache: Cache, caplog: pytest.LogCaptureFixture, change: Any) -> None:
    keep(cache, KEY, lowered("tiny_mlp", AVX2))
    document = json.loads(entries(cache, ".lowered")[0].read_bytes())
    change(document)
    cache.put(KEY, json.dumps(document).encode(), ".lowered")
    with caplog.at_level(logging.WARNING):
        assert find(cache, KEY) is None
    assert len(caplog.records) == 1 and "not what this version writes" in caplog.text


def test_weights_that_were_collected_are_a_miss(cache: Cache) -> None:
    keep(cache, KEY, lowered("tiny_mlp", AVX2))
    entries(cache, ".safetensors")[0].unlink()
    assert find(cache, KEY) is None


def test_mapped_weights_outlive_their_file(cache: Cache) -> None:
    model = lowered("tiny_mlp", AVX2)
    kept = keep(cache, KEY, model)
    assert kept.packed is not None
    kept.packed.unlink()
    assert weights(kept) == weights(model)
    with pytest.raises(ValueError, match="read-only"):
        next(iter(kept.weights.values()))[...] = 0


def test_the_least_recently_used_weights_go_first(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = lowered("tiny_mlp", AVX2), lowered("tiny_attention", AVX2)
    code = cache.put("cd" * 32, b"code" * 1000, ".o")
    keep(cache, KEY, first)
    size = entries(cache, ".safetensors")[0].stat().st_size
    monkeypatch.setattr(stored, "MOST_NBYTES", size + 1000)
    assert sum(array.nbytes for array in second.weights.values()) < size
    keep(cache, "ef" * 32, second)
    assert find(cache, KEY) is None
    assert find(cache, "ef" * 32) is not None
    assert code.exists()


def test_a_model_without_room_is_not_kept(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lowered("tiny_mlp", AVX2)
    for name, value in (("MOST_NBYTES", 10), ("_free", lambda _: 10)):
        with monkeypatch.context() as patched:
            patched.setattr(stored, name, value)
            assert keep(cache, KEY, model) is model
    assert cache.list() == ()


def test_a_cache_that_cannot_be_written_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    model = lowered("tiny_mlp", AVX2)
    with caplog.at_level(logging.WARNING):
        assert keep(Cache(tmp_path / "file" / "cache"), KEY, model) is model
    assert len(caplog.records) == 1 and "was not kept for later runs" in caplog.text


def test_many_may_keep_the_same_model_at_once(cache: Cache, start: Start) -> None:
    writers: list[subprocess.Popen[str]] = [start(KEEP_OFTEN, cache.root) for _ in range(3)]
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    found = find(cache, KEY)
    assert found is not None and weights(found) == weights(lowered("tiny_mlp", AVX2))


def test_scalars_and_bytes_are_mapped(cache: Cache) -> None:
    arrays: dict[str, Any] = {"a": np.ones((), np.float32), "b": np.arange(6).reshape(2, 3), "c": np.ones(3, np.bool_)}
    found = mapped(cache.put_written(KEY, partial(save_file, arrays), ".safetensors"))
    assert {name: (str(a.dtype), a.shape, a.tolist()) for name, a in found.items()} == {
        name: (str(a.dtype), a.shape, a.tolist()) for name, a in arrays.items()
    }
