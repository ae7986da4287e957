"""Whole models in the emulator: lowered for a GPU, then kernel after kernel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import Source, candidates, items
from gacer_tune.kernels.tensor import STORED
from gacer_tune.lowering.context import LoweredKernel
from gacer_tune.lowering.lower import LoweredModel
from tests.cuda.emulator import emulate
from tests.support.kernels import Array


def emulated(model: LoweredModel, gpu: Gpu, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs by name; each kernel in its first variant."""
    memory = [np.full(buffer.nbytes, 0xFF, np.uint8) for buffer in model.buffers]
    for number, array in model.weights.items():
        memory[number][: array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    for port in model.inputs:
        memory[port.buffer][:] = np.ascontiguousarray(feeds[port.name]).reshape(-1).view(np.uint8)
    for op in model.ops:
        for kernel in op.kernels:
            launch(kernel, gpu, memory)
    return {port.name: memory[port.buffer].view(port.dtype).reshape(port.shape) for port in model.outputs}


def launch(kernel: LoweredKernel, gpu: Gpu, memory: list[Array]) -> None:
    spec = kernel.spec
    tile = candidates(spec, gpu)[0]
    arrays = []
    for tensor, operand in zip(spec.tensors(gpu), kernel.operands, strict=True):
        nbytes = tensor.span * STORED[tensor.dtype]
        arrays.append(memory[operand.buffer][operand.offset : operand.offset + nbytes])
    emulate(source_of(Source(spec, tile, gpu).emit("kernel"), gpu), gpu, arrays, 0, items(spec, tile, gpu))
