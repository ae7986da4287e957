"""The real driver's class on a runtime and a module that are not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from gacer_tune import runtime
from gacer_tune.artifact import WEIGHTS, Artifact
from gacer_tune.executor.cuda import nvidia
from gacer_tune.executor.cuda import session as sessions
from gacer_tune.executor.cuda.nvidia import Nvidia
from gacer_tune.executor.cuda.session import CudaSession
from gacer_tune.ir.schedule import Schedule, sequential
from gacer_tune.ir.workload import Workload
from tests.cuda.fake_cuda import FakeCuda
from tests.cuda.fake_driver import FakeDriver
from tests.cuda.fake_tvm import FakeTvm
from tests.cuda.test_graph import Toy, distinct, outputs, session_of, session_on
from tests.support.workloads import chain, flat_profile

PAIR = distinct(Workload((chain("a", (4, 3), variants=2), chain("b", (2,))), "cuda"))
EXPECTED = outputs(session_of(PAIR, 1), sequential(PAIR, 1))
Opened = Callable[..., tuple[CudaSession, FakeCuda]]


def opener(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Makes sessions of PAIR."""
    monkeypatch.setattr(sessions, "FLUSH_NBYTES", 64)
    monkeypatch.setattr(nvidia, "load_cuda_runtime", lambda: None)

    def made(lanes: int = 3, seed: int = 0, **options: Any) -> tuple[CudaSession, FakeCuda]:
        cuda = FakeCuda(FakeDriver(Toy(PAIR), seed, **options))
        functions = [v.function for t in PAIR.tenants for k in t.kernels for v in k.variants]
        monkeypatch.setattr(nvidia, "bindings", lambda: cuda)
        monkeypatch.setattr(nvidia, "tvm_ffi", FakeTvm(cuda, functions))
        return session_on(Nvidia(Path("module.so")), PAIR, lanes), cuda

    return made


def module_on(session: list[CudaSession], best: Schedule, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An artifact of PAIR, loaded; it takes the session out of the list, and nobody else has it then."""
    save_file({}, folder / WEIGHTS)
    schedules = {"best": best, "alone/a": sequential(Workload(PAIR.tenants[:1], "cuda"), 1)}
    artifact = Artifact(folder, {}, PAIR, schedules, (), flat_profile(PAIR))
    monkeypatch.setattr(runtime, "_session", lambda *_: session.pop())
    monkeypatch.setattr(runtime, "read_artifact", lambda _: artifact)
    return runtime.load(folder)
