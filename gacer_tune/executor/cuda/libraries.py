"""TVM's runtime for CUDA, and what it is linked against, brought into the process in the right order."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gacer_tune.errors import UserError
from gacer_tune.executor import threads

CUDART = "libcudart.so.13"
_DRIVER = "libcuda.so.1"
_RUNTIME = "libtvm_runtime_cuda.so"


@cache
def load_cuda_runtime() -> None:
    """Raises UserError that names the library that is missing, and what brings it."""
    threads.load_runtime()
    _load([_DRIVER], f"{_DRIVER}: the NVIDIA driver is not installed on this machine")
    runtimes = [CUDART, *in_packages(CUDART), *_beside_tvm(CUDART)]
    _load(runtimes, f"{CUDART}: no CUDA 13 runtime; pip install 'gacer-tune[cuda]' brings it")
    _load([*_beside_tvm(_RUNTIME)], f"{_RUNTIME}: this build of TVM has no CUDA; pip install apache-tvm has")


def _load(names: list[str], refusal: str) -> None:
    """Load the first library of these names that there is, its symbols for all that come later."""
    for name in names:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
            return
        except OSError:
            continue
    raise UserError(refusal)


def in_packages(library: str) -> Iterator[str]:
    """Where NVIDIA's packages put a library."""
    spec = find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        yield from map(str, sorted(Path(folder).glob(f"**/{library}")))


def _beside_tvm(library: str) -> Iterator[str]:
    spec = find_spec("tvm")
    if spec is not None and spec.origin is not None:
        yield from map(str, Path(spec.origin).parent.rglob(library))
