"""From sources to the library of an artifact: each kernel is compiled once, ever; the order is that of the sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gacer_tune.errors import UserError
from gacer_tune.events import Event
from gacer_tune.executor.cuda import host, module
from gacer_tune.kernels import mapping
from gacer_tune.kernels.cuda.compile import Binary, Resources
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import Processor, Source, candidates
from gacer_tune.kernels.tensor import dense
from gacer_tune.store.cache import Cache


def source(size: int, machine: Processor | None = None) -> Source:
    gpu = machine or Gpu()
    spec = mapping.copy(dense((size,), "float16"), dense((size,), "float16"))
    return Source(spec, candidates(spec, gpu)[0], gpu)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was compiled, by a compiler that is not there; a kernel's code is its name."""
    seen: list[str] = []

    def compiled(text: str, arch: str) -> Binary:
        assert arch == "sm_90"
        seen.append(text)
        return Binary(text, text.encode(), Resources(40, 0, 0, 128, len(seen) * 1000))

    monkeypatch.setattr(module, "_text", lambda one: one.name)
    monkeypatch.setattr(module, "compile_source", compiled)
    return seen


def test_kernels_are_compiled_once_and_keep_their_order(compiler: list[str], tmp_path: Path) -> None:
    cache, events = Cache(tmp_path), list[Event]()
    first, second, third = source(64), source(128), source(256)
    found = list(module.compiled([second, first], cache, events.append))
    assert [binary.name for binary in found] == [second.name, first.name]
    assert [(event.done, event.total) for event in events] == [(1, 2), (2, 2)]
    again = list(module.compiled([first, third, second], cache, events.append))
    assert [binary.name for binary in again] == [first.name, third.name, second.name]
    assert sorted(compiler) == sorted([first.name, second.name, third.name])
    assert {b.name: b for b in again}[second.name] == found[0], "code and resources come back from the cache"


def test_launchers_know_operands_threads_and_shared_memory(
    compiler: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []

    def write(launchers: Sequence[host.Launcher], cubin: bytes, out: Path) -> None:
        written.append((list(launchers), cubin))
        out.write_bytes(b"library")

    monkeypatch.setattr(module, "link", lambda objects, arch: b"+".join([*objects, arch.encode()]))
    monkeypatch.setattr(host, "write_library", write)
    one = source(64)
    assert module.module_of([one], Cache(tmp_path), lambda _: None) == b"library"
    assert written == [([host.Launcher(one.name, 2, 128, 1000)], f"{one.name}+sm_90".encode())]
    assert compiler == [one.name]


def test_without_a_compiler_there_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(text: str, arch: str) -> Binary:
        raise UserError(f"no CUDA compiler for {arch}: {len(text)} characters")

    monkeypatch.setattr(module, "_text", lambda one: one.name)
    monkeypatch.setattr(module, "compile_source", none)
    with pytest.raises(UserError, match="no CUDA compiler for sm_90"):
        list(module.compiled([source(64)], Cache(tmp_path), lambda _: None))


def test_other_precisions_and_architectures_are_other_kernels() -> None:
    names = {source(64, gpu).name for gpu in (Gpu(), Gpu("sm_80"), Gpu(precision="tf32"))}
    assert len(names) == 3
