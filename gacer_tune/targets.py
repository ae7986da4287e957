"""What `target` means: the processor that kernels are made for, its lanes, and the device that schedules run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from gacer_tune.devices.child import ChildDevice
from gacer_tune.devices.cuda.gpu import NOT_DIVIDED
from gacer_tune.devices.simulated_gpu import GpuStandIn
from gacer_tune.errors import UserError
from gacer_tune.executor import amx, threads
from gacer_tune.executor.cuda.session import require_streams
from gacer_tune.executor.granted import granted_cpus
from gacer_tune.ir.workload import Workload
from gacer_tune.kernels.cuda.estimate import resident_blocks
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu, Precision
from gacer_tune.kernels.machine import AMX, MACHINES, Machine
from gacer_tune.kernels.rules import Processor, Source
from gacer_tune.search.simulated_gpu import GPU_MODELS, GpuModel, simulated_gpu
from gacer_tune.store.fingerprint import host_fingerprint

if TYPE_CHECKING:
    from gacer_tune.settings import Settings

AnyDevice: TypeAlias = ChildDevice | GpuStandIn

MOST_STREAMS = 8  # unless more are asked for


def machine_here(precision: str | None = None) -> Machine:
    """This processor; UserError where it has nothing for the precision."""
    if precision != "bf16":
        host = host_fingerprint()
        return replace(MACHINES[host.isa], dots="vnni") if host.multiplies_bytes else MACHINES[host.isa]
    amx.require("precision bf16")
    return AMX


def machine_of(settings: Settings) -> Processor:
    """The processor to compile for. UserError where that is a GPU and there is none."""
    if settings.target == "cpu":
        return machine_here(settings.precision)
    precision = cast(Precision, settings.chosen_precision)
    if settings.simulate is not None:
        model = GPU_MODELS[settings.simulate]
        return replace(GPUS[model.arch], precision=precision, sms=model.sms)
    from gacer_tune.devices.cuda.gpu import gpu_here

    found = gpu_here()
    if settings.shares and not found.part_sms:
        raise UserError(f"shares: {found.name} with {found.sms} SMs {NOT_DIVIDED}; tune without")
    return Gpu(found.arch, precision, found.sms)


def lanes_of(settings: Settings) -> tuple[int, ...]:
    """The CPUs of the lanes, or numbers of streams. UserError when more are asked for than there are."""
    if settings.target == "cuda":
        lanes = settings.lanes or min(2 * len(settings.tenants), MOST_STREAMS)
        require_streams(lanes)
        return tuple(range(lanes))
    cpus = threads.allowed_cpus()
    lanes = max(1, int(min(len(cpus), granted_cpus()))) if settings.lanes is None else settings.lanes
    threads.require_lanes(lanes, cpus)
    return cpus[:lanes]


def device_key(workload: Workload) -> str:
    """What measured times belong to."""
    if workload.target == "cpu":
        return host_fingerprint().key()
    from gacer_tune.devices.cuda.gpu import gpu_here

    return gpu_here().key()


def device_document(workload: Workload, simulated: str | None) -> dict[str, Any]:
    """What the fingerprint of an artifact says of its GPU; nothing where there is none."""
    if workload.target == "cpu":
        return {}
    if simulated is not None:
        return {"gpu": f"simulated {simulated}"}
    from gacer_tune.devices.cuda.gpu import clocks_mhz, gpu_here

    return {"gpu": gpu_here().document() | {"clocks_mhz": clocks_mhz()}}


def model_of(settings: Settings, sources: Mapping[str, Source]) -> GpuModel | None:
    """The simulated GPU that was asked for, with what it knows of these functions."""
    if settings.simulate is None:
        return None
    return replace(GPU_MODELS[settings.simulate], resident=resident_blocks(sources))


def open_device(
    settings: Settings, workload: Workload, sources: Mapping[str, Source], folder: Path, lanes: Sequence[int]
) -> AnyDevice:
    """The device that runs schedules of a workload; `folder` is the one that was prepared for a measuring child."""
    model = model_of(settings, sources)
    if model is None:
        return ChildDevice(folder, lanes)
    precision = cast(Precision, settings.chosen_precision)
    return GpuStandIn(simulated_gpu(workload, model, precision, len(lanes), seed=settings.seed))
