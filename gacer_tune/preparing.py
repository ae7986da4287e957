"""From model files to a workload whose every variant is compiled and timed: all that the search starts from."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gacer_tune.cost_model.profile import FORMAT as PROFILE_FORMAT
from gacer_tune.cost_model.profile import Profile
from gacer_tune.devices.child import ChildDevice, Limits, describe
from gacer_tune.errors import UserError
from gacer_tune.events import Event, Listen
from gacer_tune.executor import threads
from gacer_tune.ir.workload import Workload
from gacer_tune.kernels.build import build
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import Processor, code_version
from gacer_tune.kernels.scheduled import is_scheduled
from gacer_tune.lowering.lower import LoweredModel, lower_model
from gacer_tune.search.simulated_gpu import profile_of
from gacer_tune.selection import adopted, select
from gacer_tune.store import lowered as stored
from gacer_tune.store.cache import Cache, open_cache
from gacer_tune.store.canonical import digest
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.store.schedules import records
from gacer_tune.store.tensors import save_weights
from gacer_tune.targets import device_key, lanes_of, machine_here, machine_of, model_of
from gacer_tune.temporary import temporary_folder
from gacer_tune.tenants import Compiled, Model, assemble, functions

if TYPE_CHECKING:
    from gacer_tune.settings import Settings
    from gacer_tune.tenant_settings import TenantSettings


MOST_READ = 100  # schedules of the cache that are looked at for times

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """folder: module.so, weights.safetensors and workload.json for the measuring child."""

    workload: Workload
    profile: Profile
    compiled: Compiled
    folder: Path
    cpus: tuple[int, ...]
    cache: Cache


__all__ = ["Prepared", "lanes_of", "limits_for", "link_module", "machine_here", "prepare", "read_models"]


def read_models(settings: Settings, machine: Processor, listen: Listen, cache: Cache | None = None) -> list[Model]:
    """Load and lower each model file once, also when several tenants share it; what the cache has is not read again."""
    from gacer_tune.frontend.load import model_digest

    lowered: dict[str, LoweredModel] = {}
    lanes = 1 if isinstance(machine, Gpu) else len(lanes_of(settings))
    models = []
    for number, tenant in enumerate(settings.tenants):
        listen(Event("read", tenant.name, number, len(settings.tenants)))
        content = model_digest(tenant.path)
        key = _model_key(content, tenant)
        if key not in lowered:
            place = stored.key_of(key, machine, lanes)
            known = None if cache is None else stored.find(cache, place)
            lowered[key], now = (known, content) if known else _lowered(tenant, machine, lanes)
            # A file that was exchanged meanwhile must not be remembered under the digest of the earlier one.
            if cache is not None and known is None and now == content:
                lowered[key] = stored.keep(cache, place, lowered[key])
        slo_s = 0.0 if tenant.slo_ms is None else tenant.slo_ms / 1000
        models.append(Model(tenant.name, key, lowered[key], tenant.batch or 1, tenant.weight, slo_s))
    return models


def _lowered(tenant: TenantSettings, machine: Processor, lanes: int) -> tuple[LoweredModel, str]:
    """The model, and the digest of its file after it was read."""
    from gacer_tune.frontend.half import is_half
    from gacer_tune.frontend.load import load_model, model_digest
    from gacer_tune.frontend.shapes import input_bounds

    model = load_model(tenant.path, tenant.shapes, tenant.batch)
    if is_half(tenant.path):
        _log.warning("%s: what is float16 or bfloat16 becomes float32, inputs and outputs as well", tenant.path)
    with ThreadPoolExecutor(1) as beside:
        content = beside.submit(model_digest, tenant.path)
        try:
            lowered = lower_model(model, machine, input_bounds(model), lanes)
        except UserError as error:
            raise UserError(f"{tenant.path}: {error}") from error
        return lowered, content.result()


def _model_key(content: str, tenant: TenantSettings) -> str:
    shapes = {name: list(shape) for name, shape in tenant.shapes.items()}
    return digest([content, shapes, tenant.batch])


def prepare(settings: Settings, stack: ExitStack, listen: Listen, stop: threading.Event | None = None) -> Prepared:
    """Compile and time what the cache does not know. What is temporary is removed when `stack` closes.

    When `stop` is set, no more kernels are searched for variants.
    """
    cpus, machine = lanes_of(settings), machine_of(settings)
    cache = open_cache(settings.cache)
    models = read_models(settings, machine, listen, cache)
    compiled = assemble(models, machine)
    folder = stack.enter_context(temporary_folder())
    if (model := model_of(settings, compiled.sources)) is not None:
        profile = profile_of(compiled.workload, model, settings.chosen_precision, len(cpus))
        return Prepared(*select(compiled.workload, profile, 1), compiled, folder, cpus, cache)
    if settings.kernels == "metaschedule":
        from gacer_tune.metaschedule.search import Place
        from gacer_tune.metaschedule.variants import with_scheduled

        place = Place(cache, cpus, listen, stop or threading.Event())
        compiled = with_scheduled(compiled, settings.kernel_trials, place)
    _stage_weights(folder / "weights.safetensors", models, compiled)
    known = known_times(compiled.workload, len(cpus), cache)
    if known is None:
        _stage(folder, compiled, compiled.workload, cache, listen)
        listen(Event("profile", f"{len(compiled.sources)} kernel variants"))
        with ChildDevice(folder, cpus) as device:
            known = select(compiled.workload, device.profile(), len(cpus))
        document = {"workload": known[0].to_json(), "profile": known[1].to_json()}
        cache.put_json(_profile_key(compiled.workload, len(cpus)), document)
    _stage(folder, compiled, known[0], cache, listen)
    return Prepared(*known, compiled, folder, cpus, cache)


def known_times(workload: Workload, lanes: int, cache: Cache) -> tuple[Workload, Profile] | None:
    """The selected variants and their times: as measured here before, else as a schedule of the cache has them.

    Such a schedule may have come from another machine of this kind.
    """
    found = cache.get_json(_profile_key(workload, lanes))
    if found is not None:
        return Workload.from_json(found["workload"]), Profile.from_json(found["profile"])
    if workload.target != "cpu" or any(map(is_scheduled, functions(workload))):
        return None  # where that schedule was found, other variants were compared
    here, code = host_fingerprint().key(), profile_code()
    for _, record in records(cache, MOST_READ):
        same = (record.fingerprint.key(), record.schedule.lanes, record.profiled_by) == (here, lanes, code)
        if same and (taken := adopted(workload, record.workload, record.profile)) is not None:
            return taken
    return None


def _profile_key(workload: Workload, lanes: int) -> str:
    """Times belong to a workload, to a machine, and to the number of lanes that were busy at once."""
    return digest([profile_code(), workload.key, device_key(workload), lanes])


def profile_code() -> str:
    """The code that measures profiles, and the interpreter that runs kernels meanwhile."""
    return f"{PROFILE_FORMAT} {code_version('devices', 'executor', 'executor/emit')}"


def _stage_weights(path: Path, models: Sequence[Model], compiled: Compiled) -> None:
    """The weights of all models in one file: for a model that is alone its file of the cache, by another name."""
    only, *others = {model.lowered.packed for model in models}
    if only is not None and not others:
        with suppress(OSError):  # another disk, or gone meanwhile
            os.link(only, path)
            return
    save_weights(path, compiled.weights.items())


def _stage(folder: Path, compiled: Compiled, workload: Workload, cache: Cache, listen: Listen) -> None:
    """Put the module and the description of a workload into the child's folder."""
    names = functions(workload)
    shutil.copyfile(link_module(compiled, names, cache, listen), folder / "module.so")
    describe(folder, workload, names)


def link_module(compiled: Compiled, names: Sequence[str], cache: Cache, listen: Listen) -> Path:
    """Return a library with these functions, in this order, and the interpreter; compile what is missing."""
    key = digest([code_version("executor", "executor/emit"), version("apache-tvm"), list(names)])
    found = cache.get(key)
    if found is not None:
        listen(Event("compile", "", len(names), len(names)))
        return found
    sources = [compiled.sources[name] for name in names]
    if isinstance(sources[0].machine, Gpu):
        from gacer_tune.executor.cuda.module import module_of

        return cache.put(key, module_of(sources, cache, listen), ".so")
    from gacer_tune.executor.link import link

    def told(done: int, total: int) -> None:
        listen(Event("compile", "", done, total))

    signatures = [(name, compiled.operands(name)) for name in names]
    with temporary_folder() as folder:
        out = folder / "module.so"
        while not out.exists():
            objects = build(sources, cache, len(threads.allowed_cpus()), told)
            try:
                link(signatures, [objects[name] for name in names], sources[0].machine, out)
            except RuntimeError:  # the linker says no: `cache gc` may have removed kernels meanwhile
                if all(path.exists() for path in objects.values()):
                    raise
        return cache.put(key, out.read_bytes(), ".so")


def limits_for(profile_s: float) -> Limits:
    """A candidate may take 50 times the sequential plan for each of its runs, and never less than 10 s in all."""
    return replace(Limits(), answer_s=max(10.0, 50 * 20 * profile_s))
