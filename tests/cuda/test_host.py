"""The library of an artifact: TVM's runtime loads it and launches its kernels as they are to be launched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.cuda.stubs import compile_stubs

ROOT = Path(__file__).parent.parent.parent


def test_kernels_are_launched_on_the_current_stream_for_a_range_of_blocks(tmp_path: Path) -> None:
    """In a process of its own: libraries that stand for NVIDIA's are there for everything that is loaded after them."""
    compile_stubs(tmp_path)
    command = [sys.executable, "-m", "tests.cuda.launching", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "load code",
        "launch one grid 7 block 128 shared 0 stream 5 pointers 4096 8192 range 3 10",
        "attribute two 8 60000",
        "launch two grid 7 block 64 shared 60000 stream 6 pointers 4096 8192 range 3 10",
    ]
