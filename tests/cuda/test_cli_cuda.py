"""Target cuda from the command line: a simulated GPU from models to report, and clear words where there is no GPU."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import onnx
import pytest

import models
from gacer_tune.cli import main
from gacer_tune.devices.cuda import gpu
from gacer_tune.devices.cuda.gpu import GpuPrint, gpu_here
from gacer_tune.errors import UserError
from gacer_tune.executor.cuda import libraries, nvidia
from gacer_tune.executor.cuda.owned import Owned
from gacer_tune.settings import Settings
from gacer_tune.store.journal import Journal
from gacer_tune.targets import machine_of
from gacer_tune.tenant_settings import TenantSettings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("tiny_mlp", "tiny_branchy"):
        onnx.save(models.MODELS[name](), str(tmp_path / f"{name}.onnx"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GACER_TUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_tuning_for_a_simulated_gpu(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--target", "cuda", "--simulate", "h100", "--trials", "12", "--seed", "1", "--json"]
    assert main(["tune", "tiny_mlp.onnx", "tiny_branchy.onnx", *options, "-o", "out"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["trials"] == 12
    assert summary["best_s"] <= summary["baseline_s"]
    assert {Path(name).name for name in summary["files"]} == {
        "schedule.json", "trials.jsonl", "report.html", "trace.json", "manifest.json",
    }  # fmt: skip
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert (manifest["simulated"], manifest["target"], manifest["isa"]) == ("h100", "cuda", "sm_90")
    assert manifest["fingerprint"]["gpu"] == "simulated h100"
    schedule = json.loads((folder / "out" / "schedule.json").read_text())
    assert schedule["workload"]["target"] == "cuda"
    assert schedule["schedules"]["best"]["lanes"] == 4, "two streams for each of two models"
    assert main(["inspect", "out"]) == 0
    assert main(["report", "out"]) == 0
    capsys.readouterr()
    assert main(["run", "out"]) == 2
    assert "found on a simulated h100, there is nothing to run in it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp16"], "precision fp16: with target cpu fp32 or bf16"),
        (["--simulate", "h100"], "simulate h100: only with target cuda, the target is cpu"),
        (["--shares"], "shares: only with target cuda, the target is cpu"),
        (
            ["--target", "cuda", "--shares", "--strategy", "exhaustive"],
            "shares: not with strategy exhaustive, allowed: evolve, coordinate or random",
        ),
        (
            ["--target", "cuda", "--shares", "--only", "temporal"],
            "shares: not with only temporal, they are where work runs; allowed: only spatial, or both",
        ),
        (["--target", "cuda", "--precision", "bf16"], "precision bf16: with target cuda fp16, tf32 or fp32"),
        (
            ["--target", "cuda", "--precision", "fp8"],
            "--precision: 'fp8' was given, allowed: 'fp32', 'tf32', 'fp16' or 'bf16'",
        ),
        (["--target", "cuda", "--simulate", "v100"], "--simulate: 'v100' was given, allowed: 'h100' or 'a100'"),
        (["--target", "cuda", "--simulate", "h100", "--lanes", "99"], "lanes: 99, on a GPU 1 to 32"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_options_that_do_not_fit_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "tiny_mlp.onnx", *options]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_shares_are_searched_where_they_are_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the YAML file, found by the search or not; what the cache has kept of it is without shares for others."""
    tenants = "tenants: [tiny_mlp.onnx, tiny_branchy.onnx]\ntarget: cuda\nsimulate: h100\ntrials: 12\nseed: 1\n"
    (folder / "w.yaml").write_text(f"{tenants}shares: true\n")
    assert main(["tune", "-c", "w.yaml", "-o", "with"]) == 0
    records, _ = Journal(folder / "with" / "journal.jsonl").read()
    assert [record["trial"]["origin"] for record in records].count("even_shares") == 1
    assert main(["tune", "-c", "w.yaml", "--no-shares", "-o", "without"]) == 0
    records, _ = Journal(folder / "without" / "journal.jsonl").read()
    assert records and not any("shares" in record["trial"]["schedule"] for record in records)
    capsys.readouterr()


def test_shares_need_a_gpu_that_can_be_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of an H100, which has fewer multiprocessors than the driver needs for eight groups."""
    found = GpuPrint("NVIDIA H100 MIG 1g.10gb", "sm_90", 16, 10 << 30, 1 << 20, 13000)
    monkeypatch.setattr(gpu, "gpu_here", lambda: found)
    settings = Settings(tenants=(TenantSettings(path=Path("tiny_mlp.onnx")),), target="cuda", shares=True)
    with pytest.raises(UserError, match=r"shares: NVIDIA H100 MIG 1g\.10gb with 16 SMs cannot be divided into 8 parts"):
        machine_of(settings)
    monkeypatch.setattr(gpu, "gpu_here", lambda: replace(found, part_sms=2))
    assert machine_of(settings).sms == 16  # type: ignore[union-attr]


@pytest.mark.usefixtures("folder")
def test_without_the_extra_there_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(gpu, "import_module", missing)
    assert main(["tune", "tiny_mlp.onnx", "--target", "cuda"]) == 2
    assert capsys.readouterr().err == (
        "error: target cuda needs cuda-bindings: pip install 'gacer-tune[cuda]' "
        "(No module named 'cuda.bindings.runtime')\n"
    )


class Status(IntEnum):
    cudaSuccess = 0  # noqa: N815 - as the bindings call it
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815


@dataclass
class About:
    name: bytes = b"NVIDIA H100 80GB HBM3"
    major: int = 9
    minor: int = 0
    multiProcessorCount: int = 132  # noqa: N815
    totalGlobalMem: int = 80 << 30  # noqa: N815
    l2CacheSize: int = 50 << 20  # noqa: N815


@dataclass
class FakeCuda:
    """As much of CUDA's runtime as asking for a GPU takes."""

    cudaError_t: ClassVar[type[Status]] = Status  # noqa: N815 - as the bindings call it
    driver: int = 13000
    devices: int = 1
    about: About = field(default_factory=About)
    free: int = 1000

    def cudaDriverGetVersion(self) -> tuple[Status, int]:  # noqa: N802
        return Status.cudaSuccess, self.driver

    def cudaGetDeviceCount(self) -> tuple[Status, int]:  # noqa: N802
        return (Status.cudaSuccess, self.devices) if self.devices else (Status.cudaErrorNoDevice, 0)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Status, About]:  # noqa: N802
        assert device == 0
        return Status.cudaSuccess, self.about

    def cudaMemGetInfo(self) -> tuple[Status, int, int]:  # noqa: N802
        return Status.cudaSuccess, self.free, self.free

    def cudaFree(self, address: int) -> tuple[Status]:  # noqa: N802
        assert address == 4096
        return (Status.cudaSuccess,)

    def cudaMalloc(self, nbytes: int) -> tuple[Status, int]:  # noqa: N802
        return (Status.cudaSuccess, 4096) if nbytes <= self.free else (Status.cudaErrorMemoryAllocation, 0)


def test_the_gpu_that_is_there() -> None:
    found = gpu_here(FakeCuda())
    assert found == GpuPrint("NVIDIA H100 80GB HBM3", "sm_90", 132, 80 << 30, 50 << 20, 13000)
    assert found.key() != gpu_here(FakeCuda(driver=13010)).key()
    assert found.key() == gpu_here(FakeCuda(free=7)).key()


@pytest.mark.parametrize(
    ("cuda", "message"),
    [
        (FakeCuda(driver=0), "target cuda: the NVIDIA driver is not installed; --simulate h100 needs none"),
        (FakeCuda(driver=12040), "target cuda: the NVIDIA driver knows CUDA 12.4, at least 13.0 needed"),
        (FakeCuda(devices=0), r"target cuda: no NVIDIA GPU here \(or CUDA_VISIBLE_DEVICES hides it\)"),
        (FakeCuda(about=About(b"Tesla V100", 7, 0)), "target cuda: Tesla V100 is sm_70, supported are sm_80, sm_90"),
    ],
)
def test_gpus_that_cannot_be_used(cuda: FakeCuda, message: str) -> None:
    with pytest.raises(UserError, match=message):
        gpu_here(cuda)


class NoDriverError(Exception):
    """NVML's error."""


def test_clocks_are_told_where_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a module with NVML's names: with clocks, without a driver; and without the module."""
    clocks = {1: 1980, 2: 2619}

    def asked(handle: str, kind: int) -> int:
        assert handle == "gpu 0"
        return clocks[kind]

    nvml = SimpleNamespace(
        NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVMLError=NoDriverError, nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda number: f"gpu {number}", nvmlDeviceGetClockInfo=asked,
    )  # fmt: skip
    monkeypatch.setattr(gpu, "import_module", lambda _: nvml)
    assert gpu.clocks_mhz() == {"sm": 1980, "memory": 2619}

    def no_driver() -> None:
        raise NoDriverError

    nvml.nvmlInit = no_driver
    assert gpu.clocks_mhz() == {}

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(gpu, "import_module", missing)
    assert gpu.clocks_mhz() == {}


def test_models_larger_than_the_memory_are_refused() -> None:
    driver = object.__new__(nvidia.Nvidia)
    driver.cuda = FakeCuda()
    driver._owned = Owned(driver.cuda)
    assert driver.allocate(1000) == 4096
    with pytest.raises(UserError, match="the models need 1001 bytes of the GPU's memory, 1000 are free"):
        driver.allocate(1001)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(name: str, mode: int) -> None:
        del mode
        if "cuda.so" in name:
            raise OSError(name)

    monkeypatch.setattr(libraries.ctypes, "CDLL", loaded)
    monkeypatch.setattr(libraries.threads, "load_runtime", lambda: None)
    with pytest.raises(UserError, match=r"libcuda\.so\.1: the NVIDIA driver is not installed"):
        libraries.load_cuda_runtime.__wrapped__()
