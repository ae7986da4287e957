"""A recurrent model: LSTM layers over a fixed number of steps, as in keyword spotting."""

from __future__ import annotations

import numpy as np
import onnx

from models.builder import Builder

LAYERS = 2
# E[h^2] of such a layer's output, measured.
OUTPUT_MOMENT = 0.04


def _lstm_layer(g: Builder, x: str, hidden: int) -> str:
    """(steps, batch, depth) -> (steps, batch, hidden)."""
    steps, batch, depth = g.shape(x)
    name = g.fresh("LSTM")
    gates = g.weight(f"{name}.input.weight", (1, 4 * hidden, depth), (depth * g.moment(x)) ** -0.5)
    recurrent = g.weight(f"{name}.recurrent.weight", (1, 4 * hidden, hidden), hidden**-0.5)
    # ONNX wants a bias for the input and one for the state, one after the other.
    bias = g.constant(f"{name}.bias", 0.05 * g.random.standard_normal((1, 8 * hidden)))
    shape = (steps, 1, batch, hidden)
    inputs = [x, gates, recurrent, bias]
    y = g.op("LSTM", inputs, shape, attributes={"hidden_size": hidden}, name=name, moment=OUTPUT_MOMENT)
    return g.squeeze(y, 1)


def lstm(
    batch: int = 1, steps: int = 20, features: int = 40, hidden: int = 256, classes: int = 35, seed: int = 0
) -> onnx.ModelProto:
    """Two LSTM layers and a dense layer: `input` (steps, batch, features) -> logits after the last step."""
    g = Builder("lstm", seed)
    x = g.input("input", (steps, batch, features))
    for _ in range(LAYERS):
        x = _lstm_layer(g, x, hidden)
    last = g.gather(x, g.constant("last", steps - 1, np.int64), axis=0)
    return g.model({"output": g.linear(last, classes)})
