"""TVM as a peer: the model built through Relax with its default pipeline for CPUs, no tuning.

Compiling happens in a process of its own: the compiler stays out of the process that measures, and a model it chokes
on costs one message. Its default schedules use one core and may be a hundred times slower than tuned ones.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi

from gacer_tune.bench.system import Array, Arrays, RefusedError, RunOne, System, Task, all_at_once, one_by_one
from gacer_tune.executor.session import aligned
from gacer_tune.executor.threads import load_runtime
from gacer_tune.preparing import machine_here
from gacer_tune.processes import program
from gacer_tune.temporary import temporary_folder

NAME = "tvm"
BUILD_S = 600.0  # longest build of one model
_CPU, _POOLED = (1, 0), 2  # device type and number; kind of allocator


def systems(task: Task, stack: ExitStack) -> list[System]:
    """Raises RefusedError for a model that it cannot import, build or run."""
    folder = stack.enter_context(temporary_folder())
    libraries = {tenant: _build(task, tenant, folder / f"{n}.so") for n, tenant in enumerate(task.models)}

    def machines() -> dict[str, RunOne]:
        return {tenant: _machine(task, tenant, library) for tenant, library in libraries.items()}

    made = [System(f"{NAME} sequential", NAME, one_by_one(machines()))]
    if len(task.models) > 1:
        made.append(System(f"{NAME} parallel", NAME, all_at_once(machines(), stack)))
    return made


def _build(task: Task, tenant: str, library: Path) -> Path:
    model = library.with_suffix(".onnx")
    model.write_bytes(task.models[tenant])
    command = [*program("gacer_tune.bench.relax_build"), str(model), str(library), machine_here().mcpu]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
    except subprocess.TimeoutExpired:
        raise RefusedError(f"{tenant}: not built within {BUILD_S:g} s") from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        raise RefusedError(f"{tenant}: {lines[-1] if lines else f'its build ended with {done.returncode}'}")
    return library


def _machine(task: Task, tenant: str, library: Path) -> RunOne:
    """A virtual machine with the model: not for several threads at once, so each system has its own."""
    load_runtime()
    with _silence():
        machine = tvm_ffi.load_module(str(library))["vm_load_executable"]()
        machine["vm_initialization"](*_CPU, _POOLED)
    inputs = [_tensor(array) for array in task.inputs[tenant].values()]
    call = partial(_run, machine["main"], inputs, task.outputs[tenant])
    try:
        call()
    except (RuntimeError, TypeError, ValueError) as error:
        raise RefusedError(f"{tenant}: {str(error).strip().splitlines()[-1]}") from error
    return call


def _tensor(array: Array) -> Any:
    """The array as TVM wants it: aligned."""
    block = aligned(array.size, array.dtype)
    block[:] = array.reshape(-1)
    return tvm_ffi.from_dlpack(block.reshape(array.shape))


def _run(function: Any, inputs: Sequence[Any], names: tuple[str, ...]) -> Arrays:
    result = function(*inputs)
    outputs = [result] if isinstance(result, tvm_ffi.Tensor) else list(result)
    return {name: np.from_dlpack(tensor) for name, tensor in zip(names, outputs, strict=True)}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """TVM's runtime warns on stderr, from C++, for each function that it loads."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
