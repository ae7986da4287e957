"""Writes a library of two kernels, loads it and launches them: `python -m tests.cuda.launching FOLDER`, with stubs."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from tests.cuda.stubs import load_stubs

RANGE = (3, 10)


def main(folder: Path) -> None:
    load_stubs(folder)
    import tvm_ffi

    from gacer_tune.executor.cuda.host import Launcher, write_library

    out = folder / "module.so"
    write_library([Launcher("one", 2, 128), Launcher("two", 2, 64, 60000)], b"code of both", out)
    module = tvm_ffi.load_module(str(out))
    pointers = [ctypes.c_void_p(4096), ctypes.c_void_p(8192)]
    for name, stream in (("one", 5), ("two", 6)):
        with tvm_ffi.use_raw_stream(tvm_ffi.device("cuda", 0), stream):
            module[name](*pointers, *RANGE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
