"""DenseNet-121: every layer reads all earlier ones of its block, so BatchNormalization comes before convolution."""

from __future__ import annotations

import onnx

from models.builder import Builder, Window

GROWTH = 32
BLOCKS = (6, 12, 24, 16)


def _norm_relu(g: Builder, x: str) -> str:
    return g.relu(g.batch_norm(x))


def _dense_layer(g: Builder, earlier: list[str]) -> str:
    x = _norm_relu(g, g.concat(earlier) if len(earlier) > 1 else earlier[0])
    x = g.conv_norm_relu(x, 4 * g.channels(GROWTH), Window(1))
    return g.conv(x, g.channels(GROWTH), Window(3), bias=False)


def _transition(g: Builder, x: str) -> str:
    x = g.conv(_norm_relu(g, x), g.shape(x)[1] // 2, Window(1), bias=False)
    return g.average_pool(x, Window(2, 2, 0))


def densenet121(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """DenseNet-121: dense blocks of 6, 12, 24 and 16 layers, growth 32."""
    g = Builder("densenet121", seed, width)
    x = g.conv_norm_relu(g.image(batch, resolution), g.channels(2 * GROWTH), Window(7, 2))
    x = g.max_pool(x, Window(3, 2))
    for block, layers in enumerate(BLOCKS):
        if block:
            x = _transition(g, x)
        features = [x]
        for _ in range(layers):
            features.append(_dense_layer(g, features))
        x = g.concat(features)
    return g.model({"output": g.classify(_norm_relu(g, x), classes)})
