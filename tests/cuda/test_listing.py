"""plan.txt and the C++ program that reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tvm_ffi.libinfo

from gacer_tune.executor.cuda.graph import Await, Launch, Record, script
from gacer_tune.executor.cuda.listing import listing
from gacer_tune.ir.lower import lower
from gacer_tune.ir.workload import Workload
from gacer_tune.search.streams import stream_per_tenant
from tests.cuda import playing
from tests.cuda.stubs import CUDART, DRIVER, compile_stubs
from tests.support.workloads import chain

PLAYER = Path(__file__).parent.parent.parent / "docs" / "player.cpp"


def test_the_lines_of_a_plan() -> None:
    workload = Workload((chain("a", (4, 3)), chain("b", (2,))), "cuda")
    assert listing(workload, lower(workload, stream_per_tenant(workload, 2))).splitlines() == [
        "memory 576", "streams 2",
        "input 0 64 0 x", "output 128 64 0 y", "input 192 64 1 x", "output 256 64 1 y",
        "record 0 0", "wait 1 0",
        "launch 0 a_0_0 0 4 0 64", "launch 1 b_0_0 0 2 192 256", "launch 0 a_1_0 0 3 64 128",
        "record 1 1", "wait 0 1",
    ]  # fmt: skip


def test_streams_with_a_priority_have_a_line() -> None:
    workload = Workload((chain("a", (4, 3)), chain("b", (2,))), "cuda")
    plan = lower(workload, replace(stream_per_tenant(workload, 3), priorities=(0, 2, 1)))
    lines = listing(workload, plan).splitlines()
    assert lines[1:4] == ["streams 3", "priority 1 2", "priority 2 1"]
    assert '"priority"' in PLAYER.read_text()


def test_every_operation_has_a_line() -> None:
    workload = Workload((chain("a", (4, 3)), chain("b", (2,))), "cuda")
    plan = lower(workload, stream_per_tenant(workload, 2))
    kinds = [line.split()[0] for line in listing(workload, plan).splitlines()]
    names = {Launch: "launch", Record: "record", Await: "wait"}
    assert [k for k in kinds if k in names.values()] == [names[type(o)] for o in script(plan).operations]  # type: ignore[index]


def include_flags() -> list[str]:
    """Of TVM's FFI and of CUDA; skips where there is no toolkit."""
    roots = (os.environ.get("CUDA_HOME"), Path(shutil.which("nvcc") or "").resolve().parent.parent, "/usr/local/cuda")
    found = [Path(root) / "include" for root in roots if root]
    toolkit = next((path for path in found if (path / "cuda_runtime_api.h").exists()), None)
    if toolkit is None:
        pytest.skip("no headers of the CUDA toolkit")
    headers = [tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path(), toolkit]
    return [f"-I{path}" for path in headers]


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(command, capture_output=True, check=False, **options)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done


@pytest.mark.skipif(shutil.which("g++") is None or shutil.which("nvcc") is None, reason="no g++ or no CUDA toolkit")
def test_the_cpp_program_plays_a_plan(tmp_path: Path) -> None:
    """On libraries that stand for CUDA's: weights and inputs where they belong, launches in order, outputs out."""
    compile_stubs(tmp_path)
    run([sys.executable, "-m", "tests.cuda.playing", str(tmp_path)], cwd=PLAYER.parent.parent)
    ffi, tvm = Path(tvm_ffi.libinfo.find_libtvm_ffi()), Path(str(find_spec("tvm").origin)).parent / "lib"  # type: ignore[union-attr]
    libraries = [str(ffi), str(tmp_path / CUDART), str(tmp_path / DRIVER)]
    flags = ["-std=c++17", "-Wall", "-Werror", *include_flags()]
    run(["g++", *flags, str(PLAYER), "-o", str(tmp_path / "player"), *libraries])
    preloaded = "libtvm_runtime.so libtvm_runtime_cuda.so"
    environment = os.environ | {"LD_LIBRARY_PATH": f"{tmp_path}:{ffi.parent}:{tvm}", "LD_PRELOAD": preloaded}
    done = run([str(tmp_path / "player"), str(tmp_path)], input=bytes((1, 2, 3, 4)), env=environment)
    said, outputs = done.stdout[:-8].decode().splitlines(), done.stdout[-8:]
    assert tuple(outputs) == (3, 4, 5, 6, *(value + 1 for value in playing.WEIGHT))
    assert said[:3] == ["stream 1 0", "stream 2 0", "stream 3 -2"]
    grid = "grid 4 block 32 shared 0"
    behind = [line.partition(" pointers")[0] for line in said[said.index("capture 1 1") :]]
    assert behind == [
        "capture 1 1",
        "record 1 1", "wait 1 3",
        f"launch a_0 {grid} stream 1", f"launch b_0 {grid} stream 3", f"launch a_1 {grid} stream 1",
        "record 2 3", "wait 2 1",
        "captured 1 7", "instantiate 7 8", "run 8 1",
    ]  # fmt: skip
