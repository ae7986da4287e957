"""Runs the CUDA C of a kernel on the CPU (see emulator.cpp), which proves kernels right without a GPU."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gacer_tune.kernels.cuda.gpu import Gpu

Array = NDArray[Any]
HERE = Path(__file__).parent
DEVICE = HERE.parent.parent / "gacer_tune" / "kernels" / "cuda" / "device.cuh"

# Misuse ends the program: the sanitizers' report is the error. Nothing is contracted, as nvcc is told.
FLAGS = ["-std=c++17", "-O1", "-w", "-ffp-contract=off", "-fno-strict-aliasing", "-static-libasan"]
FLAGS += ["-fsanitize=address,alignment,bounds,shift,signed-integer-overflow", "-fno-sanitize-recover=all"]
OPTIONS = {"ASAN_OPTIONS": "detect_stack_use_after_return=0:detect_leaks=0:use_sigaltstack=0"}

KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\((\d+)(?:, \d+)?\) )?(\w+)\(([^)]*)\) {')
SHARED = re.compile(r"__shared__ (alignas\(\d+\) )?(\w+(?: \w+)* (\w+)\[[^\]]+\];)")
DYNAMIC = re.compile(r"extern __shared__ (?:__align__|alignas)\((\d+)\) (\w+(?: \w+)*) (\w+)\[\];")


class EmulationError(AssertionError):
    """The kernel misbehaves: an access out of bounds, threads that never meet, a result that depends on their order."""


def emulate(source: str, gpu: Gpu, arrays: Sequence[Array], lo: int, hi: int) -> None:  # noqa: ARG001 - one CPU for all
    """Run blocks [lo, hi) of a kernel on its operands: contiguous arrays, as long as it may reach, changed in place.

    The kernel sees them as far from multiples of 16 bytes as they lie here.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(i) for i in range(len(arrays))]
        for file, array in zip(files, arrays, strict=True):
            file.write_bytes(array.tobytes())
        skews = [str(array.ctypes.data % 16) for array in arrays]
        pairs = [part for pair in zip(files, skews, strict=True) for part in pair]
        command = [program(source), str(threads(source)), str(lo), str(hi), *pairs]
        done = subprocess.run(command, env=OPTIONS, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EmulationError(done.stderr[:4000] or f"exit code {done.returncode}")
        for file, array in zip(files, arrays, strict=True):
            array.reshape(-1).view("uint8")[...] = memoryview(file.read_bytes())


def threads(source: str) -> int:
    """Threads of a block, all of them along x."""
    assert "threadIdx.y" not in source and "blockIdx.y" not in source
    return int(declaration(source)[1])


def declaration(source: str) -> re.Match[str]:
    found = KERNEL.search(source)
    assert found is not None and found[1] is not None, "no kernel with its number of threads"
    return found


@cache
def program(source: str) -> Path:
    """The emulating program of a kernel, kept for later runs. Raises EmulationError for code that g++ refuses."""
    code = translated(source)
    path = workplace() / hashlib.sha256(code.encode()).hexdigest()
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=workplace()) as folder:
        file, made = Path(folder) / "kernel.cpp", Path(folder) / "program"
        file.write_text(code)
        objects = workplace().glob("*.o")
        command = ["g++", *FLAGS, "-include", workplace() / "device.hpp", file, *objects, "-o", made]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EmulationError(done.stderr[:4000])
        made.rename(path)
    return path


@cache
def workplace() -> Path:
    """A folder for programs, with what they share compiled beforehand; another one for other headers."""
    parts = [DEVICE, *(HERE / name for name in ("device.hpp", "emulator.hpp", "emulator.cpp", "warp.cpp"))]
    content = " ".join(FLAGS).encode() + b"".join(part.read_bytes() for part in parts)
    path = Path(tempfile.gettempdir()) / "gacer-tune-tests" / f"emulator-{hashlib.sha256(content).hexdigest()[:16]}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent))
    (folder / "device.hpp").write_text(f'#include "{HERE / "device.hpp"}"\n#include "{DEVICE}"\n')
    subprocess.run(["g++", *FLAGS, "-x", "c++-header", folder / "device.hpp"], check=True)
    for part in ("emulator", "warp"):
        subprocess.run(["g++", *FLAGS, "-c", HERE / f"{part}.cpp", "-o", folder / f"{part}.o"], check=True)
    try:
        folder.rename(path)
    except OSError:  # another process was faster
        shutil.rmtree(folder)
    return path


def translated(source: str) -> str:
    """C++ of a kernel: without what includes CUDA's headers, with `main`."""
    found = declaration(source)
    kernel, nbytes = source[found.start() :], dynamic_nbytes(source)
    kernel = DYNAMIC.sub(lambda m: f"__shared__ alignas({m[1]}) {m[2]} {m[3]}[{nbytes} / sizeof({m[2]})];", kernel)
    kernel = SHARED.sub(r"\1static \2 emulator::declare_shared(\3, sizeof(\3));", kernel)
    kinds = [part.replace("__restrict__", "").rsplit(" ", 1)[0].strip() for part in found[3].split(",")]
    values = [f"({kind})a[{i}]" if kind.endswith("*") else f"*({kind}*)a[{i}]" for i, kind in enumerate(kinds)]
    start = f"static void start(void** a) {{ {found[2]}({', '.join(values)}); }}\n"
    return f"{kernel}\n{start}int main(int n, char** v) {{ return emulator::main_of(start, n, v); }}\n"


def dynamic_nbytes(source: str) -> int:
    found = re.search(r"// dynamic shared memory: (\d+) bytes", source)
    return int(found[1]) if found else 0
