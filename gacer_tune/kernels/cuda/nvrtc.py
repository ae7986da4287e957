"""NVIDIA's compiler and linker as libraries (the extra `cuda`): they do in 50 ms what takes nvcc half a second."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class NvrtcError(RuntimeError):
    """What the compiler or the linker says of code that it refuses."""


@cache
def available() -> bool:
    """Whether compiler, linker and the headers they need are installed."""
    if find_spec("cuda") is None or find_spec("cuda.bindings") is None:
        return False
    try:
        nvrtc, linker = (import_module(f"cuda.bindings.{name}") for name in ("nvrtc", "nvjitlink"))
        nvrtc.nvrtcVersion()
        linker.version()
    except (ImportError, RuntimeError, OSError):  # a library that is not there is any of them
        return False
    return headers() is not None


def headers() -> Path | None:
    """The folder of cuda_fp16.h: of the wheel nvidia-cuda-runtime, or of the toolkit that NVIDIA's own search finds."""
    for name in ("nvidia.cu13", "nvidia.cuda_runtime"):
        found = find_spec(name) if find_spec("nvidia") else None
        for place in found.submodule_search_locations or () if found else ():
            if (Path(place) / "include" / "cuda_fp16.h").is_file():
                return Path(place) / "include"
    if find_spec("cuda.pathfinder") is None:
        return None
    folder = import_module("cuda.pathfinder").find_nvidia_header_directory("cudart")
    return Path(folder) if folder and (Path(folder) / "cuda_fp16.h").is_file() else None


def compiled(source: str, arch: str, flags: Sequence[str]) -> tuple[bytes, str]:
    """Relocatable code of a source, and what ptxas says of it."""
    nvrtc = import_module("cuda.bindings.nvrtc")
    program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    try:
        options = [f"--gpu-architecture={arch}", "-rdc=true", "--ptxas-options=-v", "-w", f"-I{headers()}", *flags]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        log = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        _checked(nvrtc.nvrtcGetProgramLog(program, log))
        said = log.rstrip(b"\0 ").decode()
        if int(status):
            raise NvrtcError(said)
        code = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
        _checked(nvrtc.nvrtcGetCUBIN(program, code))
        return code, said
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def linked(objects: Sequence[bytes], arch: str) -> bytes:
    """One cubin of relocatable objects."""
    linker = import_module("cuda.bindings.nvjitlink")
    handle = linker.create(1, [f"-arch={arch}"])
    try:
        for number, code in enumerate(objects):
            linker.add_data(handle, linker.InputType.CUBIN, code, len(code), str(number))
        linker.complete(handle)
        cubin = bytearray(linker.get_linked_cubin_size(handle))
        linker.get_linked_cubin(handle, cubin)
        return bytes(cubin)
    except linker.nvJitLinkError as error:
        log = bytearray(linker.get_error_log_size(handle))
        linker.get_error_log(handle, log)
        raise NvrtcError(log.rstrip(b"\0 ").decode() or str(error)) from error
    finally:
        linker.destroy(handle)


def _checked(answer: tuple[Any, ...]) -> Any:
    """The value in an answer (status, value), or None in (status,)."""
    if int(answer[0]):
        raise NvrtcError(str(answer[0]))
    return answer[1] if len(answer) > 1 else None
