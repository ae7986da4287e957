"""Loads and runs an artifact. Needs numpy, safetensors and TVM's runtime; neither the tuner nor ONNX nor the compiler.

from gacer_tune.runtime import load

module = load("out")
outputs = module.run({"resnet18": {"input": image}, "bert_small": {"tokens": tokens}})
outputs["resnet18"]["output"]
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gacer_tune.artifact import MODULE, WEIGHTS, Artifact, read_artifact
from gacer_tune.devices.cuda.gpu import NOT_DIVIDED, gpu_here
from gacer_tune.errors import UserError
from gacer_tune.executor import amx, threads
from gacer_tune.executor.cuda.arrays import DeviceArray, address_of, on_gpu
from gacer_tune.executor.cuda.session import CudaSession
from gacer_tune.executor.memory import require_fit
from gacer_tune.executor.session import Loaded, Session
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.plan import Memory, Plan
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Port, Workload
from gacer_tune.store.fingerprint import VNNI, WITH_BYTES, host_fingerprint
from gacer_tune.temporary import another_name

Array = NDArray[Any]
Arrays = dict[str, Array]

# Each instruction set runs code of itself and of those before it.
ISAS = ("x86-64", "avx2", "avx512", "amx")


class Module:
    """A loaded artifact. Calls from several threads take turns: they share one memory.

    Its memory is given back when nobody has it or its arrays any more, or at once by `close`, which leaving a `with`
    block does too.
    """

    def __init__(self, artifact: Artifact, cpus: Sequence[int]) -> None:
        self.artifact, self.workload = artifact, artifact.workload
        self._names = {tenant.name: number for number, tenant in enumerate(self.workload.tenants)}
        self._lock = threading.Lock()
        memory = place(self.workload)
        self._session: Any = _session(artifact, memory, cpus)
        self.session.read_weights(artifact.folder / WEIGHTS)
        self._loaded: dict[str, Any] = {}
        self._last = self.loaded("best")

    def __enter__(self) -> Module:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back its memory, on a GPU all that it has there; its outputs there and runs end with it."""
        with self._lock:
            session, self._session, self._last = self._session, None, None
            self._loaded.clear()
        if session is not None:
            session.close()

    @property
    def session(self) -> Any:
        """Session, on a GPU CudaSession. Raises UserError once closed."""
        if self._session is None:
            raise UserError(f"{self.artifact.folder}: this module is closed, load it again")
        return self._session

    @property
    def tenants(self) -> list[str]:
        """Names of the tenants, in order."""
        return list(self._names)

    def inputs(self, tenant: str) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of each input of a tenant."""
        return {port.name: (port.shape, port.dtype) for port in self.workload.tenants[self._number(tenant)].inputs}

    def outputs(self, tenant: str) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of each output of a tenant."""
        return {port.name: (port.shape, port.dtype) for port in self.workload.tenants[self._number(tenant)].outputs}

    def run(self, inputs: Mapping[str, Mapping[str, Array]], schedule: str = "best") -> dict[str, Arrays]:
        """Run all tenants together and return {tenant: {output: array}}.

        Raises UserError for a tenant or input that is missing, unknown, or of another shape or type.
        """
        _same_names("tenants", inputs, self._names)
        with self._lock:
            for name in self._names:
                self._feed(name, inputs[name])
            self._go(schedule)
            return {name: self._fetch(name) for name in self._names}

    def run_one(self, tenant: str, inputs: Mapping[str, Array]) -> Arrays:
        """Run one tenant alone on all lanes and return {output: array}."""
        with self._lock:
            self._feed(tenant, inputs)
            self._go(f"alone/{tenant}")
            return self._fetch(tenant)

    def loaded(self, schedule: str) -> Any:
        """The plan of a schedule of the artifact (`best`, a baseline, `alone/TENANT`): Loaded, on a GPU LoadedGraph."""
        if schedule not in self._loaded:
            self._loaded[schedule] = self.session.load(self.plan(schedule))
        return self._loaded[schedule]

    def plan(self, schedule: str) -> Plan:
        """Raises UserError for a name the artifact does not have."""
        if schedule not in self.artifact.schedules:
            raise UserError(f"schedule {schedule!r}: this artifact has {', '.join(self.artifact.schedules)}")
        chosen = self.artifact.schedules[schedule]
        tenant = schedule.partition("/")[2] if schedule.startswith("alone/") else None
        if tenant is None:
            return lower(self.workload, chosen, self.session.memory)
        return _alone(self.workload, self._number(tenant), chosen, self.session)

    def trace(self) -> list[tuple[int, str, int, int, float, float]]:
        """(tenant, op, kernel, lane, begin_s, end_s) of every slice of the last run, seconds since its first one;
        then of what lanes stole from slices of others."""
        if isinstance(self._last, Loaded):
            rows = self._last.timeline(self.artifact.manifest["cycles_per_second"])
        else:  # a graph notes no times; one that does is made for this
            rows = self.session.timeline(self._last.plan)
        return [(t, op_of(self.workload, t, k), k, lane, first, last) for t, k, lane, first, last in rows]

    def _go(self, schedule: str) -> None:
        self._last = self.loaded(schedule)
        self.session.run(self._last)

    def _number(self, tenant: str) -> int:
        if tenant not in self._names:
            raise UserError(f"tenant {tenant!r}: this artifact has {', '.join(self._names)}")
        return self._names[tenant]

    def device_outputs(self, tenant: str) -> dict[str, DeviceArray]:
        """The outputs of the last run where they lie on the GPU, for torch.as_tensor or cupy.asarray; not copied."""
        if not isinstance(self.session, CudaSession):
            raise UserError(f"{self.artifact.folder}: its outputs are not on a GPU, its target is cpu")
        number = self._number(tenant)
        ports = self.workload.tenants[number].outputs
        return {p.name: DeviceArray(p.shape, p.dtype, self.session.address(number, p), self.session) for p in ports}

    def _feed(self, tenant: str, inputs: Mapping[str, Array]) -> None:
        number = self._number(tenant)
        ports = {port.name: port for port in self.workload.tenants[number].inputs}
        _same_names(f"{tenant}: inputs", inputs, ports)
        for name, port in ports.items():
            given = inputs[name]
            if isinstance(self.session, CudaSession) and on_gpu(given):
                self.session.take(number, port, address_of(f"{tenant}.{name}", given, port))
            else:
                self.session.port(number, port)[...] = _checked(f"{tenant}.{name}", given, port)

    def _fetch(self, tenant: str) -> Arrays:
        number = self._number(tenant)
        return {port.name: self.session.port(number, port).copy() for port in self.workload.tenants[number].outputs}


def load(folder: str | Path, cpus: Sequence[int] | None = None) -> Module:
    """Load an artifact on the given CPUs, or on those that this process may use.

    Raises UserError when a file does not match the manifest, when the module needs instructions that this processor
    lacks, when the schedule has more lanes than there are CPUs, or when another artifact is published there meanwhile.
    """
    folder = Path(folder)
    before = _files(folder)
    try:
        return _opened(folder, cpus)
    finally:
        if _files(folder) != before:
            raise UserError(f"{folder}: published anew while it was being loaded, load it again")


def _files(folder: Path) -> list[tuple[int, int]]:
    """Which files the module and the weights are: what is published anew is another file of the same name."""
    facts = [(folder / name).stat() for name in (MODULE, WEIGHTS) if (folder / name).exists()]
    return [(fact.st_ino, fact.st_mtime_ns) for fact in facts]


def _opened(folder: Path, cpus: Sequence[int] | None) -> Module:
    artifact = read_artifact(folder)
    if artifact.manifest.get("simulated"):
        raise UserError(
            f"{folder}: found on a simulated {artifact.manifest['simulated']}, there is nothing to run in it"
        )
    if artifact.workload.target == "cuda":
        return Module(artifact, range(artifact.schedules["best"].lanes))
    _require_instructions(folder, str(artifact.manifest["isa"]))
    lanes = artifact.schedules["best"].lanes
    available = threads.allowed_cpus() if cpus is None else threads.chosen_cpus(cpus)
    threads.require_lanes(lanes, available)
    return Module(artifact, available[:lanes])


def _require_instructions(folder: Path, needs: str) -> None:
    """Refuse, by name, an artifact that needs more than this processor has."""
    host, base = host_fingerprint(), needs.removesuffix(WITH_BYTES)
    if needs == "amx":
        amx.require(f"{folder}: compiled for amx")
    elif ISAS.index(base) > ISAS.index(host.isa) or (base != needs and VNNI[base] not in host.flags):
        has = host.isa + (WITH_BYTES if host.multiplies_bytes else "")
        raise UserError(f"{folder}: compiled for {needs}, this processor has {has}: tune again on this machine")


def _session(artifact: Artifact, memory: Memory, lanes: Sequence[int]) -> Any:
    """What runs the module: on these CPUs, or with as many streams."""
    if artifact.workload.target == "cpu":
        return Session(artifact.folder / MODULE, artifact.workload, memory, artifact.functions, lanes)
    from gacer_tune.executor.cuda.nvidia import Nvidia

    gpu = gpu_here()
    if gpu.arch != artifact.manifest["isa"]:
        raise UserError(
            f"{artifact.folder}: compiled for {artifact.manifest['isa']}, {gpu.name} is {gpu.arch}: tune again on it"
        )
    if not gpu.part_sms and any(schedule.shares for schedule in artifact.schedules.values()):
        raise UserError(f"{artifact.folder}: its lanes have shares, {gpu.name} {NOT_DIVIDED}; tune again without")
    with another_name(artifact.folder / MODULE) as module:
        driver = Nvidia(module)
    return CudaSession(driver, artifact.workload, memory, len(lanes))


def op_of(workload: Workload, tenant: int, kernel: int) -> str:
    """Name of the op that a kernel belongs to."""
    return workload.tenants[tenant].op_of[kernel].name


def _alone(workload: Workload, tenant: int, schedule: Schedule, session: Session | CudaSession) -> Plan:
    """A plan of one tenant, in the memory and with the numbering of the whole workload."""
    only = Workload((workload.tenants[tenant],), workload.target)
    plan = lower(only, schedule, session.memory)
    lanes = tuple(tuple(replace(piece, tenant=tenant) for piece in lane) for lane in plan.lanes)
    return replace(plan, lanes=lanes)


def _same_names(what: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if set(given) != set(wanted):
        raise UserError(f"{what}: {', '.join(given) or 'none'} given, {', '.join(wanted)} needed")


def _checked(where: str, array: Array, port: Port) -> Array:
    array = np.asarray(array)
    require_fit(where, array.shape, str(array.dtype), port)
    return array
