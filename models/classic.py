"""Plain chains of convolutions: AlexNet, VGG-16 and SqueezeNet 1.1, as torchvision publishes them."""

from __future__ import annotations

import onnx

from models.builder import Builder, Window

VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
HALVE = Window(2, 2, 0)
HALVE_WIDE = Window(3, 2, 0, ceil=True)


def _dense_head(g: Builder, x: str, classes: int) -> onnx.ModelProto:
    x = g.flatten(x)
    for _ in range(2):
        x = g.relu(g.linear(x, g.channels(4096)))
    return g.model({"output": g.linear(x, classes)})


def alexnet(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """AlexNet: five convolutions, three dense layers (their first follows the resolution)."""
    g = Builder("alexnet", seed, width)
    pool = Window(3, 2, 0)
    x = g.relu(g.conv(g.image(batch, resolution), g.channels(64), Window(11, 4, 2)))
    x = g.relu(g.conv(g.max_pool(x, pool), g.channels(192), Window(5)))
    x = g.max_pool(x, pool)
    for channels in (384, 256, 256):
        x = g.relu(g.conv(x, g.channels(channels), Window(3)))
    return _dense_head(g, g.max_pool(x, pool), classes)


def vgg16(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """VGG-16 without batch normalization (the first dense layer follows the resolution)."""
    g = Builder("vgg16", seed, width)
    x = g.image(batch, resolution)
    for channels, repeats in VGG16_STAGES:
        for _ in range(repeats):
            x = g.relu(g.conv(x, g.channels(channels), Window(3)))
        x = g.max_pool(x, HALVE)
    return _dense_head(g, x, classes)


def _fire(g: Builder, x: str, squeeze: int, expand: int) -> str:
    x = g.relu(g.conv(x, g.channels(squeeze), Window(1)))
    return g.concat([g.relu(g.conv(x, g.channels(expand), Window(side))) for side in (1, 3)])


def squeezenet(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """SqueezeNet 1.1: fire modules, a convolution as classifier."""
    g = Builder("squeezenet", seed, width)
    x = g.relu(g.conv(g.image(batch, resolution), g.channels(64), Window(3, 2, 0)))
    for stage in (((16, 64),) * 2, ((32, 128),) * 2, ((48, 192),) * 2 + ((64, 256),) * 2):
        x = g.max_pool(x, HALVE_WIDE)
        for squeeze, expand in stage:
            x = _fire(g, x, squeeze, expand)
    x = g.relu(g.conv(x, classes, Window(1)))
    return g.model({"output": g.flatten(g.global_average_pool(x))})
