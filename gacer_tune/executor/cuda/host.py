"""The library of an artifact for CUDA: the linked kernels, and for each a function on the host that launches it.

`name(pointer..., lo, hi)` launches blocks [lo, hi) on the stream that is current in TVM's runtime. The machine code of
the kernels is ready; TVM only carries it. So no compiler is needed where the library is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from gacer_tune.executor.cuda.libraries import load_cuda_runtime

GRID = ("blockIdx.x", "threadIdx.x")
DYNAMIC = "tirx.use_dyn_shared_memory"


@dataclass(frozen=True, slots=True)
class Launcher:
    """What a launch must know of a kernel: pointers it takes, threads of a block, dynamic shared memory."""

    name: str
    operands: int
    threads: int
    dynamic_nbytes: int = 0


def write_library(launchers: Sequence[Launcher], cubin: bytes, out: Path) -> None:
    """Write a library with all kernels of a cubin. UserError without TVM's CUDA runtime or what it needs."""
    load_cuda_runtime()
    library = tvm.compile(tvm.IRModule({one.name: launch_function(one) for one in launchers}), target="llvm")
    library.mod.import_module(device_module(launchers, cubin))
    library.mod.export_library(str(out))


def device_module(launchers: Sequence[Launcher], cubin: bytes) -> Any:
    """TVM's module of a cubin."""
    described = {
        one.name: {
            "name": "",
            "arg_types": ["handle"] * one.operands + ["int32", "int32"],
            "launch_param_tags": [*GRID, *((DYNAMIC,) if one.dynamic_nbytes else ())],
        }
        for one in launchers
    }
    known = tvm_ffi.get_global_func("runtime.LoadMetaDataFromJSON")(
        json.dumps({"tvm_version": tvm.__version__, "func_info": described})
    )
    return tvm_ffi.get_global_func("ffi.Module.create.cuda")(cubin, "cubin", known, {})


def launch_function(one: Launcher) -> tirx.PrimFunc:
    """`name(pointer..., lo, hi)` on the host, which calls the kernel of the same name with its grid."""
    pointers = [tirx.Var(f"p{i}", "handle") for i in range(one.operands)]
    lo, hi = tirx.Var("lo", "int32"), tirx.Var("hi", "int32")
    sizes = [hi - lo, tirx.const(one.threads, "int32")]
    if one.dynamic_nbytes:
        sizes.append(tirx.const(one.dynamic_nbytes, "int32"))
    call = tirx.call_packed(one.name, *pointers, lo, hi, *sizes)
    return tirx.PrimFunc([*pointers, lo, hi], tirx.Evaluate(call)).with_attr({"global_symbol": one.name})
