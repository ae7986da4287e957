"""Kernels compile for both architectures, what ptxas says of them is read, and objects are linked."""

from __future__ import annotations

import shutil

import pytest

from gacer_tune.errors import UserError
from gacer_tune.kernels.cuda import compile as cuda
from gacer_tune.kernels.cuda import nvrtc
from gacer_tune.kernels.cuda.compile import CompileError, Resources, compile_source, link, resources, source_of
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.pool import Pool
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.reduce import Reduce
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.rules import Source, candidates
from gacer_tune.kernels.tensor import dense
from tests.cuda.variants import stored

COMPILERS = shutil.which("nvcc") or nvrtc.available()
compiles = pytest.mark.skipif(not COMPILERS, reason="needs nvcc or the extra `cuda`")
ELF = b"\x7fELF"

KERNEL = """
extern "C" __global__ void __launch_bounds__(96) NAME(float* __restrict__ x, int lo, int hi) {
  __shared__ float kept[96];
  kept[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[(blockIdx.x + lo) * 96 + threadIdx.x] = kept[95 - threadIdx.x];
}
"""
LOG = """ptxas info    : Used 40 registers, used 1 barriers, 16384 bytes smem
    64 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads"""


def test_resources_are_read_from_what_ptxas_says() -> None:
    assert resources(LOG, "", 128) == Resources(40, 16384, 32, 128)
    dynamic = "// dynamic shared memory: 1000 bytes\n"
    assert resources(LOG, dynamic, 128) == Resources(40, 17384, 32, 128, 1000)
    assert resources("ptxas info    : Used 8 registers", "", 32) == Resources(8, 0, 0, 32)
    with pytest.raises(CompileError, match="no registers"):
        resources("", "", 32)


@compiles
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_objects_are_linked_into_one(arch: str) -> None:
    found = [compile_source(KERNEL.replace("NAME", name), arch) for name in ("first", "second")]
    assert [one.name for one in found] == ["first", "second"]
    assert all(one.code.startswith(ELF) for one in found)
    assert found[0].resources.threads == 96
    assert found[0].resources.shared_nbytes == 384
    assert 4 <= found[0].resources.registers <= 32
    assert found[0].resources.spill_nbytes == 0
    cubin = link([one.code for one in found], arch)
    assert cubin.startswith(ELF)
    assert b"first" in cubin and b"second" in cubin


@compiles
def test_wrong_code_is_refused() -> None:
    with pytest.raises(CompileError, match="nowhere"):
        compile_source(KERNEL.replace("NAME", "wrong").replace("kept[95", "nowhere[95"), "sm_90")
    with pytest.raises(CompileError, match="no kernel"):
        compile_source("int x;", "sm_90")


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.nvrtc, "available", lambda: False)
    monkeypatch.setattr(cuda.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="no CUDA compiler"):
        compile_source(KERNEL, "sm_90")
    with pytest.raises(UserError, match="no CUDA compiler"):
        link([], "sm_90")


PROGRAM = Program(
    (Step("silu", (Arg("acc"),)), Step("add", (Arg("step", 0), Arg("operand", 0)))), (dense((1, 6, 6, 24)),)
)
SPECS = [
    Pool(dense((1, 12, 12, 24)), dense((1, 6, 6, 24)), "avg", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False, PROGRAM),
    Depthwise(dense((1, 6, 6, 24)), dense((1, 6, 6, 24)), (3, 3), (1, 1), (1, 1), (1, 1), PROGRAM),
    Rows(dense((40, 1500)), dense((40, 1500)), "layer_norm", 1e-5, dense((1500,)), dense((1500,))),
    Reduce(dense((2, 7, 7, 64)), dense((2, 1, 1, 64)), (1, 2), "mean"),
    Reduce(dense((30, 999)), dense((30, 1)), (1,), "l2"),
]


@compiles
@pytest.mark.parametrize("gpu", [Gpu("sm_80"), Gpu("sm_90", "fp32")])
def test_rules_compile(gpu: Gpu) -> None:
    """One source holds a kernel of each rule; the compiler sees every device function they call."""
    sources = []
    for number, spec in enumerate(SPECS):
        one = stored(spec, gpu)
        sources.append(source_of(Source(one, candidates(one, gpu)[0], gpu).emit(f"kernel{number}"), gpu))
    cubin = compile_source("".join([sources[0], *(one[one.index('extern "C"') :] for one in sources[1:])]), gpu.arch)
    assert all(f"kernel{number}".encode() in cubin.code for number in range(len(SPECS)))
