"""From kernel functions to code that a GPU loads: CUDA C, then one relocatable object a kernel, then a linked cubin.

Objects are compiled once each and cached; linking any set of them takes a fraction of a second. NVRTC and nvJitLink do
it where the extra `cuda` is installed, else nvcc and nvlink.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from gacer_tune.errors import UserError
from gacer_tune.kernels.cuda import nvrtc
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.temporary import temporary_folder

Result = TypeVar("Result")

# Products are not contracted with sums: different variants could be contracted differently. Kernels say `fma`.
FLAGS = ("-std=c++17", "-fmad=false")
KERNEL = re.compile(r'extern "C" __global__ void __launch_bounds__\((\d+)(?:, \d+)?\) (\w+)\([^)]*\) {')
DYNAMIC = re.compile(r"^// dynamic shared memory: (\d+) bytes$", re.MULTILINE)
REGISTERS = re.compile(r"Used (\d+) registers")
STATIC = re.compile(r"(\d+) bytes smem")
SPILLS = re.compile(r"(\d+) bytes spill (?:stores|loads)")


class CompileError(RuntimeError):
    """A kernel does not compile: a bug of its rule."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a block of a kernel takes of its multiprocessor, and what its threads spill to memory (bytes a thread).

    Of shared_nbytes, `dynamic_nbytes` must be asked for at the launch.
    """

    registers: int
    shared_nbytes: int
    spill_nbytes: int
    threads: int
    dynamic_nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Binary:
    """Relocatable code (ELF) of one kernel."""

    name: str
    code: bytes
    resources: Resources


def source_of(function: Any, gpu: Gpu) -> str:
    """CUDA C of a kernel function (a tirx.PrimFunc), without the device functions that it calls (imports tvm)."""
    from gacer_tune.kernels.cuda.emit.source import source_of as generated

    return generated(function, gpu)


def compile_source(source: str, arch: str) -> Binary:
    """The relocatable object of a kernel. Raises UserError where there is no compiler, CompileError for wrong code."""
    kernel = KERNEL.search(source)
    if kernel is None:
        raise CompileError("no kernel in the source")
    code, log = _compiled(f"{device_functions()}\n{source}", arch)
    return Binary(kernel[2], code, resources(log, source, int(kernel[1])))


def resources(log: str, source: str, threads: int) -> Resources:
    """Read from what ptxas says of one kernel."""
    registers, static, dynamic = REGISTERS.search(log), STATIC.search(log), DYNAMIC.search(source)
    if registers is None:
        raise CompileError(f"no registers in what ptxas says: {log[-500:]}")
    asked = int(dynamic[1]) if dynamic else 0
    shared = asked + (int(static[1]) if static else 0)
    return Resources(int(registers[1]), shared, sum(int(n) for n in SPILLS.findall(log)), threads, asked)


@cache
def device_functions() -> str:
    return (Path(__file__).parent / "device.cuh").read_text()


def link(objects: Sequence[bytes], arch: str) -> bytes:
    """One cubin of relocatable objects, whose kernels keep their names."""
    if nvrtc.available():
        return _tried(lambda: nvrtc.linked(objects, arch))
    _require_nvcc()
    with temporary_folder() as folder:
        paths = [folder / f"{i}.cubin" for i in range(len(objects))]
        for path, code in zip(paths, objects, strict=True):
            path.write_bytes(code)
        out = folder / "linked.cubin"
        _run(["nvlink", f"-arch={arch}", *map(str, paths), "-o", str(out)])
        return out.read_bytes()


def _compiled(source: str, arch: str) -> tuple[bytes, str]:
    if nvrtc.available():
        return _tried(lambda: nvrtc.compiled(source, arch, FLAGS))
    _require_nvcc()
    with temporary_folder() as folder:
        code, out = folder / "kernel.cu", folder / "kernel.cubin"
        code.write_text(source)
        flags = [f"-arch={arch}", "-cubin", "-rdc=true", *FLAGS, "-Xptxas=-v", "-w"]
        log = _run(["nvcc", *flags, str(code), "-o", str(out)])
        return out.read_bytes(), log


def _require_nvcc() -> None:
    if not shutil.which("nvcc"):
        raise UserError(
            "no CUDA compiler: install the extra `cuda` (pip install 'gacer-tune[cuda]') or put nvcc on the PATH"
        )


def _tried(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except nvrtc.NvrtcError as error:
        raise CompileError(str(error)[-2000:]) from error


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"{command[0]} fails: {(done.stderr or done.stdout)[-2000:]}")
    return done.stderr
