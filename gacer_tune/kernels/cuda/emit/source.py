"""From a kernel function to CUDA C: TVM's passes for a function of one thread, then its code generator for CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.emit.compile import passes

# The names that TVM uses, instead of the headers it includes: NVRTC has not got them all.
PRELUDE = """\
#ifdef __CUDACC_RTC__
using int8_t = signed char;
using int64_t = long long;
using uint64_t = unsigned long long;
#else
#include <cstdint>
#endif
using uint = unsigned int;
using uchar = unsigned char;
using ushort = unsigned short;
#define CUDART_INF_F __int_as_float(0x7f800000)
#define CUDART_NAN_F __int_as_float(0x7fffffff)
#define CUDART_INF __longlong_as_double(0x7ff0000000000000LL)
#define CUDART_NAN __longlong_as_double(0xfff8000000000000LL)
"""


def target_of(gpu: Gpu) -> Any:
    description = {
        "kind": "cuda",
        "arch": gpu.arch,
        "max_num_threads": 1024,
        "max_shared_memory_per_block": 49152,
        "thread_warp_size": 32,
    }
    return tvm.target.Target(description)


def source_of(function: tirx.PrimFunc, gpu: Gpu) -> str:
    """CUDA C of a kernel under its global symbol, without the device functions that it calls.

    If it has dynamic shared memory there is a line `// dynamic shared memory: N bytes`.
    """
    target = target_of(gpu)
    name = str(function.attrs["global_symbol"])
    attributes = {
        "target": target,
        "calling_conv": tvm.ir.CallingConv.DEVICE_KERNEL_LAUNCH,
        "tirx.is_global_func": True,
    }
    lowered = passes(target)(tvm.IRModule({name: function}))[name].with_attrs(attributes)
    with compiling_with(lambda _: bytearray(b"-")):
        module = tvm.get_global_func("target.build.cuda")(tvm.IRModule({name: lowered}), target)
    text = str(module.inspect_source())
    kernel = text[text.rindex('extern "C" __global__') :].rstrip()
    dynamic = dynamic_nbytes(lowered)
    note = f"// dynamic shared memory: {dynamic} bytes\n" if dynamic else ""
    return f"{PRELUDE}{note}{kernel}\n"


def dynamic_nbytes(function: tirx.PrimFunc) -> int:
    found = 0

    def count(node: Any) -> None:
        nonlocal found
        if node.buffer.scope() == "shared.dyn":
            kind, _, lanes = str(node.buffer.dtype).partition("x")
            found += prod(int(n) for n in node.buffer.shape) * np.dtype(kind).itemsize * int(lanes or 1)

    tvm_ffi.structural_walk(function.body, [(tirx.AllocBuffer, count)])
    return found


@contextmanager
def compiling_with(compiler: Callable[[str], bytearray]) -> Iterator[None]:
    """TVM's code generator compiles what it generates; within this, `compiler` stands for that."""
    name = "tvm_callback_cuda_compile"
    before = tvm.get_global_func(name, allow_missing=True)
    tvm.register_global_func(name, compiler, override=True)
    try:
        yield
    finally:
        if before is not None:
            tvm.register_global_func(name, before, override=True)
