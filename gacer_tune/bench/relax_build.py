"""Builds one model with Relax's default pipeline: `python -m gacer_tune.bench.relax_build MODEL.onnx OUT.so MCPU`."""

from __future__ import annotations

import sys

import onnx
import tvm
from tvm.relax.frontend.onnx import from_onnx


def build(model: str, library: str, mcpu: str) -> None:
    """Raises whatever the importer and the compiler raise: the parent reads the last line of it."""
    module = from_onnx(onnx.load(model), keep_params_in_input=False)
    target = tvm.target.Target({"kind": "llvm", "mcpu": mcpu})
    tvm.compile(module, target).export_library(library)


if __name__ == "__main__":
    build(*sys.argv[1:])
