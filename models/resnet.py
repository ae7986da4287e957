"""ResNets as torchvision publishes them: the stride of a bottleneck is in its 3x3 convolution."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from models.builder import Builder, Window

Block = Callable[[Builder, str, int, int], str]


def _basic(g: Builder, x: str, channels: int, stride: int) -> str:
    x = g.conv_norm_relu(x, g.channels(channels), Window(3, stride))
    return g.conv_norm(x, g.channels(channels), Window(3))


def _bottleneck(g: Builder, x: str, channels: int, stride: int) -> str:
    x = g.conv_norm_relu(x, g.channels(channels), Window(1))
    x = g.conv_norm_relu(x, g.channels(channels), Window(3, stride))
    return g.conv_norm(x, 4 * g.channels(channels), Window(1))


def _residual(g: Builder, x: str, block: Block, channels: int, stride: int) -> str:
    inner = block(g, x, channels, stride)
    if g.shape(inner) != g.shape(x):
        x = g.conv_norm(x, g.shape(inner)[1], Window(1, stride))
    # The skip is the output of a ReLU already: only the negative half of what is added can be cut off.
    moment = g.moment(x) + g.moment(inner) / 2
    return g.op("Relu", [g.add(inner, x)], g.shape(x), moment=moment)


def _resnet(g: Builder, x: str, block: Block, repeats: tuple[int, ...], classes: int) -> onnx.ModelProto:
    x = g.conv_norm_relu(x, g.channels(64), Window(7, 2))
    x = g.max_pool(x, Window(3, 2))
    for stage, count in enumerate(repeats):
        for index in range(count):
            x = _residual(g, x, block, 64 << stage, 2 if stage and not index else 1)
    return g.model({"output": g.classify(x, classes)})


def resnet18(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """ResNet-18: basic blocks."""
    g = Builder("resnet18", seed, width)
    return _resnet(g, g.image(batch, resolution), _basic, (2, 2, 2, 2), classes)


def resnet34(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """ResNet-34: basic blocks."""
    g = Builder("resnet34", seed, width)
    return _resnet(g, g.image(batch, resolution), _basic, (3, 4, 6, 3), classes)


def resnet50(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """ResNet-50: bottleneck blocks."""
    g = Builder("resnet50", seed, width)
    return _resnet(g, g.image(batch, resolution), _bottleneck, (3, 4, 6, 3), classes)


def resnet101(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """ResNet-101: bottleneck blocks."""
    g = Builder("resnet101", seed, width)
    return _resnet(g, g.image(batch, resolution), _bottleneck, (3, 4, 23, 3), classes)
