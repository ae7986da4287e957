"""Workloads of small models, compiled once for all tests that run them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import pytest

import models
from gacer_tune.devices.bench import Bench
from gacer_tune.events import Event
from gacer_tune.executor import amx, threads
from gacer_tune.executor.session import Session
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.shapes import input_bounds
from gacer_tune.ir.memory import place
from gacer_tune.ir.workload import Tenant
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.lowering.lower import LoweredModel, lower_model
from gacer_tune.preparing import link_module, machine_here
from gacer_tune.store.cache import Cache
from gacer_tune.tenants import Compiled, Model, assemble, functions
from tests.support.build import Array, run

NEEDS_AMX = pytest.mark.skipif(bool(amx.missing()), reason=f"without AMX: {amx.missing()}")
FOLDER = Path(tempfile.gettempdir()) / "gacer-tune-tests"


def silent(_: Event) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Built:
    compiled: Compiled
    bench: Bench
    module: Path
    models: tuple[onnx.ModelProto, ...]


def kernel_cache() -> Cache:
    """One cache for all tests and runs: what it holds is keyed by content."""
    return Cache(FOLDER / "cache")


@cache
def tiny(lanes: int = 2) -> Built:
    """Three small tenants: branches with residual and concatenation, attention, a perceptron."""
    return build([(name, models.MODELS[name]()) for name in ("tiny_branchy", "tiny_attention", "tiny_mlp")], lanes)


@cache
def narrow(lanes: int = 2) -> Built:
    """The same tenants with products of bfloat16, by loops that do what AMX does."""
    names = ("tiny_branchy", "tiny_attention", "tiny_mlp")
    return build([(name, models.MODELS[name]()) for name in names], lanes, emulated())


def emulated() -> Machine:
    """This processor as if it had tiles."""
    return replace(machine_here(), tiles="emulated")


def build(
    named: Sequence[tuple[str, onnx.ModelProto]], lanes: int = 2, machine: Machine | None = None, **limits: Any
) -> Built:
    """Lower, compile, link and load the models on `lanes` lanes, for this machine unless another is given."""
    machine = machine or machine_here()
    lowered = [Model(name, "0" * 64, lowered_alone(model, machine)) for name, model in named]
    compiled, module, session = loaded(lowered, lanes, machine, **limits)
    return Built(compiled, Bench(session), module, tuple(model for _, model in named))


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """What a file of this model is read as."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, str(path))
        return load_model(path)


def lowered_alone(model: onnx.ModelProto, machine: Target | None = None) -> LoweredModel:
    """What a file of this model is lowered to."""
    read = canonical(model)
    return lower_model(read, machine or machine_here(), input_bounds(read))


def loaded(
    models: Sequence[Model], lanes: int, machine: Machine | None = None, **limits: Any
) -> tuple[Compiled, Path, Session]:
    """The models compiled, linked and in memory, with their weights and without inputs."""
    compiled = assemble(models, machine or machine_here(), **limits)
    names = functions(compiled.workload)
    module = link_module(compiled, names, kernel_cache(), silent)
    session = Session(module, compiled.workload, place(compiled.workload), names, threads.allowed_cpus()[:lanes])
    session.place_weights(compiled.weights.items())
    return compiled, module, session


def beside_onnxruntime(protos: Sequence[onnx.ModelProto], most: int) -> list[tuple[Array, Array, Tenant]]:
    """Of each model its output `y`, that of ONNX Runtime on the same inputs, and the tenant that it has become."""
    built = build([(f"m{number}", proto) for number, proto in enumerate(protos)], 1, most=most)
    found, rows = built.bench.outputs(), []
    for number, (proto, tenant) in enumerate(zip(protos, built.compiled.workload.tenants, strict=True)):
        feeds = {port.name: built.bench.session.port(number, port) for port in tenant.inputs}
        rows.append((found[f"{number}/y"], run(proto, feeds)[0], tenant))
    return rows
