"""Which GPU there is, asked of NVIDIA's driver; and why there is none that can be used, in one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import PARTS
from gacer_tune.kernels.cuda.gpu import GPUS
from gacer_tune.store.canonical import digest

DRIVER = 13000  # of CUDA 13.0, the oldest that runs what we compile
INSTALL = "pip install 'gacer-tune[cuda]'"
NOT_DIVIDED = f"cannot be divided into {PARTS} parts: that takes green contexts, and a group of SMs for each"


class CudaError(RuntimeError):
    """A call of CUDA that should not have failed."""


@dataclass(frozen=True, slots=True)
class GpuPrint:
    """A GPU as far as times depend on it. driver: version of CUDA that it knows, 13000 for 13.0.

    part_sms: multiprocessors of each part that lanes can have shares in; 0 where the driver has no green contexts.
    """

    name: str
    arch: str
    sms: int
    memory_nbytes: int
    l2_nbytes: int
    driver: int
    part_sms: int = 0

    def key(self) -> str:
        """64 hex digits over what changes the time of a kernel."""
        return digest([self.name, self.arch, self.sms, self.l2_nbytes, self.driver])

    def document(self) -> dict[str, Any]:
        return asdict(self)


def bindings() -> Any:
    """CUDA's runtime for Python. UserError without the extra."""
    try:
        return import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise UserError(f"target cuda needs cuda-bindings: {INSTALL} ({error})") from error


def call(answer: Sequence[Any]) -> Any:
    """The results of a call of the bindings, which answer with the error first. Raises CudaError."""
    status, *results = answer
    if int(status) != 0:
        raise CudaError(f"CUDA error {int(status)}: {getattr(status, 'name', status)}")
    if not results:
        return None
    return results[0] if len(results) == 1 else tuple(results)


def gpu_here(cuda: Any = None, device: int = 0, low: Any = None) -> GpuPrint:
    """The GPU of this machine. UserError without driver, without GPU, for a driver or a GPU too old.

    cuda, low: the bindings of runtime and driver, or what stands for them in a test.
    """
    cuda, low = (bindings(), import_module("cuda.bindings.driver")) if cuda is None else (cuda, low)
    driver = int(call(cuda.cudaDriverGetVersion()))
    if driver == 0:
        raise UserError("target cuda: the NVIDIA driver is not installed; --simulate h100 needs none")
    if driver < DRIVER:
        raise UserError(
            f"target cuda: the NVIDIA driver knows CUDA {_dotted(driver)}, at least {_dotted(DRIVER)} needed"
        )
    status, count = cuda.cudaGetDeviceCount()
    if int(status) != 0 or count == 0:
        raise UserError(
            "target cuda: no NVIDIA GPU here (or CUDA_VISIBLE_DEVICES hides it); --simulate h100 needs none"
        )
    about = call(cuda.cudaGetDeviceProperties(device))
    name = about.name.decode() if isinstance(about.name, bytes) else str(about.name)
    arch = f"sm_{about.major}{about.minor}"
    if arch not in GPUS:
        raise UserError(f"target cuda: {name} is {arch}, supported are {', '.join(GPUS)}")
    parts = 0 if low is None else part_sms(low, device)
    return GpuPrint(name, arch, about.multiProcessorCount, about.totalGlobalMem, about.l2CacheSize, driver, parts)


def sm_groups(low: Any, device: Any) -> list[Any]:
    """The multiprocessors in PARTS groups, as large as the driver makes so many. CudaError where it makes none.

    The driver rounds the size of a group up, so the largest one that is asked for may give too few.
    """
    whole = call(low.cuDeviceGetDevResource(device, low.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM))
    for size in range(whole.sm.smCount // PARTS, 0, -1):
        found, count, _ = call(low.cuDevSmResourceSplitByCount(PARTS, whole, 0, size))
        if count == PARTS:
            return list(found[:count])
    raise CudaError(f"the driver does not divide {whole.sm.smCount} multiprocessors into {PARTS} parts")


def part_sms(low: Any, device: int = 0) -> int:
    """Multiprocessors of one part; 0 where the driver has no green contexts."""
    try:
        return int(sm_groups(low, call(low.cuDeviceGet(device)))[0].sm.smCount)
    except (CudaError, AttributeError, RuntimeError):  # the bindings raise for a call that an old driver lacks
        return 0


def clocks_mhz(device: int = 0) -> dict[str, int]:
    """Clocks of the multiprocessors and of the memory now, by NVML; nothing where it is not there or does not say."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return {}
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(device)
        kinds = {"sm": nvml.NVML_CLOCK_SM, "memory": nvml.NVML_CLOCK_MEM}
        return {name: int(nvml.nvmlDeviceGetClockInfo(handle, kind)) for name, kind in kinds.items()}
    except nvml.NVMLError:
        return {}


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
