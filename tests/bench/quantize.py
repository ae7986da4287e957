"""Models quantized as ONNX Runtime's tools do it, calibrated with seeded noise: their times are what is looked at."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnxruntime import quantization
from onnxruntime.quantization import shape_inference

from tests.support.quantized import Calibration


def quantized(model: onnx.ModelProto, how: str) -> bytes:
    """The model with weights of int8, a scale for each output, as QDQ nodes or (dynamic) operators of whole numbers."""
    with quiet(), tempfile.TemporaryDirectory() as folder:
        source, plain, out = (Path(folder) / f"{name}.onnx" for name in ("source", "plain", "out"))
        source.write_bytes(model.SerializeToString())
        common = {"per_channel": True, "weight_type": quantization.QuantType.QInt8}
        if how == "dynamic":
            quantization.quantize_dynamic(source, out, **common)
        else:
            kind = quantization.QuantType.QUInt8 if how == "uint8" else quantization.QuantType.QInt8
            shape_inference.quant_pre_process(source, plain, skip_symbolic_shape=True)
            quantization.quantize_static(plain, out, Calibration(model), activation_type=kind, **common)
        return out.read_bytes()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the advice that the tools write to the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
