"""Libraries that stand for NVIDIA's driver and runtime, so that TVM's runtime for CUDA loads where there is no GPU."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
DRIVER, CUDART = "libcuda.so.1", "libcudart.so.13"


def compile_stubs(folder: Path) -> None:
    """Write both libraries into a folder."""
    versions = folder / "versions"
    versions.write_text(f"{CUDART} {{ global: *; }};\n")
    command = ["cc", "-shared", "-fPIC", "-w", str(HERE / "stubs.c")]
    subprocess.run([*command, "-DDRIVER", f"-Wl,-soname,{DRIVER}", "-o", str(folder / DRIVER)], check=True)
    script = f"-Wl,-soname,{CUDART},--version-script={versions}"
    subprocess.run([*command, script, "-o", str(folder / CUDART)], check=True)


def load_stubs(folder: Path) -> None:
    """Let what is loaded from now on find them in place of NVIDIA's; for a process that does nothing else."""
    for name in (DRIVER, CUDART):
        ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
