"""From a kernel function to object code: TVM's passes for plain loops, then its LLVM code generator."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx

from gacer_tune.kernels.machine import Machine
from gacer_tune.temporary import temporary_folder

FEATURES = "features"  # attribute of a function that needs more of the processor than its machine says


def target_of(machine: Machine, function: tirx.PrimFunc | None = None) -> Any:
    """The machine, with all that a function needs."""
    more = function.attrs.get(FEATURES) if function is not None else None
    target = tvm.target.Target({"kind": "llvm", "mcpu": machine.mcpu, **({"mattr": [str(more)]} if more else {})})
    return target.with_host(target)


def lower(function: tirx.PrimFunc, machine: Machine) -> Any:
    """Return the module the code generator takes.

    Scratch is left as allocations of constant size: they become stack (accumulators even registers), where TVM's
    workspace calls would cost two calls an item.
    """
    return passes(target_of(machine, function))(tvm.IRModule({"kernel": function}))


def passes(target: Any) -> tvm.transform.Sequential:
    """From plain loops (on a GPU: those of one thread) to what the target's code generator takes."""
    return tvm.transform.Sequential(
        [
            tirx.transform.BindTarget(target),
            tirx.transform.FlattenBuffer(),
            tirx.transform.VectorizeLoop(True),
            tirx.transform.StorageRewrite(),
            tirx.transform.UnrollLoop(),
            tirx.transform.StmtSimplify(),
            tirx.transform.RemoveNoOp(),
            tirx.transform.CommonSubexprElim(),
            tirx.transform.LowerIntrin(),
        ]
    )


def object_code(function: tirx.PrimFunc, machine: Machine) -> bytes:
    """Return the relocatable object file that defines the function under its global symbol."""
    module = tvm.get_global_func("target.build.llvm")(lower(function, machine), target_of(machine, function))
    with temporary_folder() as folder:
        path = folder / "kernel.o"
        module.write_to_file(str(path), "o")
        return path.read_bytes()
