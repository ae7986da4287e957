"""Whole models on an emulated GPU: every kernel of a plan runs in the emulator, in the order of the captured graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from gacer_tune.executor.cuda.session import CudaSession
from gacer_tune.ir.memory import place
from gacer_tune.kernels.cuda.compile import source_of
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import Source
from gacer_tune.tenants import Compiled, Model, assemble
from tests.cuda.emulator import emulate
from tests.cuda.fake_driver import Array, FakeDriver
from tests.support.compiled import lowered_alone

STORED = {"float16": np.float16, "bool": np.uint8}


def compiled(named: dict[str, onnx.ModelProto], gpu: Gpu, most: int = 1) -> Compiled:
    """The workload of these models, with so many variants of each kernel."""
    return assemble([Model(name, "0" * 64, lowered_alone(model, gpu)) for name, model in named.items()], gpu, most)


class Emulating:
    """Computes launches of the functions of a workload in the emulator."""

    def __init__(self, sources: dict[str, Source]) -> None:
        self.sources = sources
        self.texts: dict[str, str] = {}
        self.launches: list[str] = []

    def __call__(self, function: str, operands: Sequence[Array], span: tuple[int, int]) -> None:
        source, gpu = self.sources[function], self.sources[function].machine
        assert isinstance(gpu, Gpu)
        if function not in self.texts:
            self.texts[function] = source_of(source.emit(function), gpu)
        views = [
            memory[: tensor.span * np.dtype(STORED.get(tensor.dtype, tensor.dtype)).itemsize]
            for memory, tensor in zip(operands, source.spec.tensors(gpu), strict=True)
        ]
        emulate(self.texts[function], gpu, views, *span)
        self.launches.append(function)


def session(made: Compiled, lanes: int, feeds: dict[str, dict[str, Any]], seed: int = 0) -> CudaSession:
    """A session on the emulator with these inputs, by tenant and name."""
    driver = FakeDriver(Emulating(made.sources), seed)
    found = CudaSession(driver, made.workload, place(made.workload), lanes)
    found.place_weights(made.weights.items())
    for number, tenant in enumerate(made.workload.tenants):
        for port in tenant.inputs:
            found.port(number, port)[...] = feeds[tenant.name][port.name]
    return found
