"""What is measured on a GPU beside the search: shares of it, and PyTorch; gone through here without either."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gacer_tune.devices.cuda.gpu import GpuPrint
from gacer_tune.executor.cuda.session import CudaSession
from gacer_tune.ir.plan import Plan
from gacer_tune.search.streams import stream_per_tenant
from gacer_tune.store.cache import Cache
from tests.cuda.fake_driver import FakeDriver
from tests.cuda.fake_torch import FakeTorch
from tests.gpu import bundle, here, measure, mixes, results, shares
from tests.gpu.bundle import Bundle


def shares_of(bundled: Path, *options: str) -> tuple[int, results.Row]:
    """Exit code and row of the one mix."""
    out = bundled / "shares.json"
    code = shares.main([str(bundled), "--json", str(out), *options])
    (row,) = results.known(out).values()
    return code, row


def test_shares_are_checked_and_timed_against_none(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: set[object] = set()
    original = CudaSession.load

    def noted(self: CudaSession, plan: Plan, *rest: object) -> object:
        parts.add(tuple(one for one in plan.parts if one is not None))
        return original(self, plan, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CudaSession, "load", noted)
    code, row = shares_of(bundled, "--dry-run")
    assert code == 0 and row["ok"] and row["marked"] == "ok"
    assert row["bits"] == {"schedules": 1 + shares.DRAWN, "wrong": [], "ok": True}
    for name in ("even", "eighth"):
        assert row[name]["with_s"] > 0 and row[name]["without_s"] > 0 and row[name]["times"] > 0
    assert {(), ((0, 4), (4, 8)), ((0, 1),)} <= parts


def test_wrong_bits_under_shares_fail(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = FakeDriver.carry_out

    def spoiled(self: FakeDriver, graph: object) -> None:
        original(self, graph)  # type: ignore[arg-type]
        if any(node.parts for node in graph.nodes):  # type: ignore[attr-defined]
            self.memory[:] = 1

    monkeypatch.setattr(FakeDriver, "carry_out", spoiled)
    code, row = shares_of(bundled, "--dry-run")
    assert code == 3 and not row["ok"] and len(row["bits"]["wrong"]) == 1 + shares.DRAWN


def test_a_gpu_that_has_no_parts_is_no_failure(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "gpu_here", lambda: GpuPrint("MIG 1g", "sm_90", 16, 1, 1, 13000))
    code, row = shares_of(bundled)
    assert code == 0 and row["refused"].startswith("this GPU cannot be divided into 8 parts")
    out = bundled / "late.json"
    assert shares.main([str(bundled), "--json", str(out), "--budget", "-1"]) == 0
    assert list(results.known(out).values()) == [results.LATE]


def test_pytorch_is_timed_in_turns_with_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "module_of", lambda *_: b"")
    monkeypatch.setitem(sys.modules, "torch", torch := FakeTorch())  # type: ignore[misc]
    made = Bundle("tiny_mlp+tiny_mlp", 1, "fp16", True)
    bundle.write(made, tmp_path / made.name, Cache(tmp_path / "cache"), 1)
    mix = mixes.open_mix(tmp_path / made.name, 2, True)
    row = measure.with_torch(mix, stream_per_tenant(mix.workload, 2))
    assert set(row["torch_s"]) == set(row["against"]) == {"torch eager", "torch graph", "torch streams"}
    assert row["torch_s"] == dict.fromkeys(row["torch_s"], 0.002) and row["ours_beside_s"] > 0
    assert row["against"]["torch graph"] == pytest.approx(0.002 / row["ours_beside_s"])
    assert (row["algorithms"], row["torch"]) == ("all", "0.0")
    turns = [line for line in torch.log if line in ("replay", "flush", "begin", "end of it")]
    assert turns[-8:] == ["flush", "begin", "replay", "end of it"] * 2, "each behind a cache that was overwritten"


def test_cudnn_tries_fewer_algorithms_where_time_runs_out() -> None:
    torch = SimpleNamespace(backends=SimpleNamespace(cudnn=SimpleNamespace(benchmark_limit=0)))
    with measure.patience(torch, 60):
        assert torch.backends.cudnn.benchmark_limit == 0
    with measure.patience(torch, 0.001):
        until = time.monotonic() + 20
        while torch.backends.cudnn.benchmark_limit == 0 and time.monotonic() < until:
            time.sleep(0.001)
        assert torch.backends.cudnn.benchmark_limit == measure.FEWER


@pytest.mark.parametrize("error", [OSError("libtvm_runtime.so: undefined symbol"), RuntimeError("CUDA error 999")])
def test_a_machine_that_cannot_be_used_says_why(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(here, "NEEDED", ("numpy",))
    monkeypatch.setattr("gacer_tune.devices.cuda.gpu.gpu_here", broken)
    assert here.main() == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == f"{error}: nothing was begun\n"


def test_versions_are_told() -> None:
    found = here.versions()
    assert found["python"] == sys.version.split()[0] and {"numpy", "onnx", "apache-tvm-ffi"} <= set(found)
    assert all(found.values())
