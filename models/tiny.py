"""Tiny tenants for tests: each compiles in a moment and runs in microseconds."""

from __future__ import annotations

import onnx

from models.builder import Builder, Window
from models.transformer import layer_norm_first


def tiny_branchy(
    batch: int = 1, resolution: int = 16, channels: int = 8, classes: int = 10, seed: int = 0
) -> onnx.ModelProto:
    """A convolution, two branches concatenated, a residual sum, a classifier: under a million operations."""
    g = Builder("tiny_branchy", seed)
    x = g.conv_norm_relu(g.image(batch, resolution), channels, Window(3, 2))
    left = g.conv_norm_relu(x, channels, Window(1))
    right = g.relu(g.conv(g.max_pool(x, Window(3)), channels, Window(3)))
    joined = g.conv_norm(g.concat([left, right]), channels, Window(3))
    return g.model({"output": g.classify(g.relu(g.add(joined, x)), classes)})


def tiny_mlp(
    batch: int = 1, features: int = 64, hidden: int = 128, classes: int = 10, seed: int = 0
) -> onnx.ModelProto:
    """Three dense layers: `input` (batch, features) -> logits."""
    g = Builder("tiny_mlp", seed)
    x = g.input("input", (batch, features))
    for _ in range(2):
        x = g.relu(g.linear(x, hidden))
    return g.model({"output": g.linear(x, classes)})


def tiny_attention(
    batch: int = 1, tokens: int = 16, hidden: int = 32, heads: int = 2, seed: int = 0
) -> onnx.ModelProto:
    """One encoder layer: `input` and `output` (batch, tokens, hidden)."""
    g = Builder("tiny_attention", seed)
    return g.model({"output": layer_norm_first(g, g.input("input", (batch, tokens, hidden)), heads)})
