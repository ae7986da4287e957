"""One model of the catalogue as an ONNX file: `python -m tests.exported.exporting timm/dla34 dla34.onnx`."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

from tests.exported.catalogue import makers

STILL, SMALL = 1e-3, 0.1


def export(name: str, path: str) -> None:
    """As `torch.onnx.export` writes it, weights included."""
    import torch

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    module, inputs = makers()[name]()
    enliven(torch, module)
    torch.onnx.export(module.eval(), tuple(inputs.values()), path, dynamo=True, external_data=False, verbose=False)


def enliven(torch: Any, module: Any) -> None:
    """Let nothing be without effect: what begins at zero or next to it, as biases and the scales of layers do, is drawn
    anew, and so are the statistics of batch normalisations."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.abs().max() < STILL:
                parameter.normal_(0, SMALL)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, SMALL)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)


if __name__ == "__main__":
    export(*sys.argv[1:])
