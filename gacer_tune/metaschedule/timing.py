"""Times variants of one kernel as a workload of its own, in a child process, by the interpreter that runs all plans.

The first variant is ours: another that does not give its bits is a failure, as in every search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gacer_tune.devices.child import ChildDevice, Limits, describe
from gacer_tune.executor.link import link
from gacer_tune.executor.memory import port_nbytes
from gacer_tune.ir.schedule import Schedule, sequential
from gacer_tune.ir.workload import Buffer, BufferKind, Kernel, Operand, Port, Tenant, Variant, Workload
from gacer_tune.ir.workload import Op as IrOp
from gacer_tune.kernels import rules
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rules import Source, Spec
from gacer_tune.kernels.tensor import Tensor
from gacer_tune.lowering.graph import Array
from gacer_tune.search.trial import Result, Timing
from gacer_tune.store.tensors import save_weights

REPEATS = 12
SLOW = 1.5  # a candidate whose run takes so many times as long as the best is not run again
LIMITS = Limits(answer_s=10.0)
WEIGHT = 1  # the position of the packed weights among the operands


def alone(spec: Spec, variants: Sequence[Variant], machine: Machine) -> tuple[Workload, dict[str, Array]]:
    """A workload of nothing but this kernel, its operands as inputs, and its random weights by content."""
    tensors = spec.tensors(machine)
    last = len(tensors) - 1
    weight = np.random.default_rng(0).standard_normal(tensors[WEIGHT].shape).astype(np.float32)
    buffers, ports = [], []
    for number, tensor in enumerate(tensors):
        kind: BufferKind = "weight" if number == WEIGHT else "output" if number == last else "input"
        port = _port(f"p{number}", number, tensor)
        buffers.append(Buffer(port.name, port_nbytes(port), kind, "0" * 64 if number == WEIGHT else ""))
        ports.append(port)
    operands = tuple(Operand(number, number == last) for number in range(last + 1))
    kernel = Kernel(operands, tuple(variants), spec.flops, rules.nbytes(spec, machine))
    inputs = tuple(port for port in ports[:last] if port.buffer != WEIGHT)
    ops = (IrOp(rules.rule(spec), rules.rule(spec), (kernel,)),)
    tenant = Tenant("kernel", "0" * 64, tuple(buffers), ops, inputs, (ports[last],))
    return Workload((tenant,)), {"0" * 64: weight}


def _port(name: str, number: int, tensor: Tensor) -> Port:
    """All memory that a view spans."""
    return Port(name, number, (tensor.span,), tensor.dtype)


def stage(sources: Sequence[Source], objects: Sequence[Path], folder: Path) -> Workload:
    """Put the variants, given with their object files, and all that a child needs into an empty folder."""
    spec, machine = sources[0].spec, sources[0].machine
    assert isinstance(machine, Machine)
    variants = [Variant(s.name, rules.items(s.spec, s.tile, machine)) for s in sources]
    workload, weights = alone(spec, variants, machine)
    names = [variant.function for variant in variants]
    operands = len(workload.tenants[0].kernels[0].operands)
    link([(name, operands) for name in names], objects, machine, folder / "module.so")
    save_weights(folder / "weights.safetensors", weights.items())
    describe(folder, workload, names)
    return workload


def plan(workload: Workload, lanes: int, variant: int) -> Schedule:
    """The kernel over so many lanes."""
    return replace(sequential(workload, lanes), variants=((variant,),))


def measure(
    ours: Source, tried: Sequence[Source], objects: Sequence[Path], folder: Path, cpus: Sequence[int]
) -> list[Result]:
    """The time of each tried variant over all lanes, or why it has none. objects: of ours, then of the tried ones.

    folder: an empty one, for the files of the child.
    """
    workload = stage([ours, *tried], objects, folder)
    best_s, found = math.inf, list[Result]()
    with ChildDevice(folder, cpus, LIMITS) as device:
        for number in range(1 + len(tried)):
            result = device.measure(plan(workload, len(cpus), number), REPEATS, SLOW * best_s)
            if isinstance(result, Timing):
                result = Timing(result.seconds, result.tenants_s)
                best_s = min(best_s, result.median_s)
            found.append(result)
    return found[1:]
