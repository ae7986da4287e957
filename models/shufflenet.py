"""ShuffleNet v2: half of the channels passes each unit untouched, then the channels are shuffled."""

from __future__ import annotations

import onnx

from models.builder import Builder, Window

STAGES = ((116, 4), (232, 8), (464, 4))


def _shuffle(g: Builder, x: str) -> str:
    """Interleaves the two halves of the channels: abcd efgh -> ae bf cg dh."""
    batch, channels, rows, columns = g.shape(x)
    halves = g.reshape(x, (batch, 2, channels // 2, rows, columns))
    return g.reshape(g.transpose(halves, (0, 2, 1, 3, 4)), (batch, channels, rows, columns))


def _branch(g: Builder, x: str, channels: int, stride: int) -> str:
    x = g.conv_norm_relu(x, channels, Window(1))
    x = g.conv_norm(x, channels, Window(3, stride), channels)
    return g.conv_norm_relu(x, channels, Window(1))


def _unit(g: Builder, x: str) -> str:
    kept, changed = g.split(x, 2, 1)
    return _shuffle(g, g.concat([kept, _branch(g, changed, g.shape(changed)[1], 1)]))


def _shrinking_unit(g: Builder, x: str, channels: int) -> str:
    side = g.conv_norm(x, g.shape(x)[1], Window(3, 2), g.shape(x)[1])
    side = g.conv_norm_relu(side, channels // 2, Window(1))
    return _shuffle(g, g.concat([side, _branch(g, x, channels // 2, 2)]))


def shufflenet(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """ShuffleNet v2 1.0x: channel split and shuffle."""
    g = Builder("shufflenet", seed, width)
    x = g.conv_norm_relu(g.image(batch, resolution), g.channels(24), Window(3, 2))
    x = g.max_pool(x, Window(3, 2))
    for channels, units in STAGES:
        x = _shrinking_unit(g, x, g.channels(channels))
        for _ in range(units - 1):
            x = _unit(g, x)
    x = g.conv_norm_relu(x, g.channels(1024), Window(1))
    return g.model({"output": g.classify(x, classes)})
