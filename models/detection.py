"""Object detectors: Tiny YOLO v2, and SSDLite on MobileNet v2. Their outputs are raw: no non-maximum suppression."""

from __future__ import annotations

import onnx

from models.builder import Builder, Window
from models.mobile import MOBILENET_V2_BLOCKS, conv_norm_act, depthwise, expand, inverted_residual

YOLO_CHANNELS = (16, 32, 64, 128, 256, 512)
YOLO_ANCHORS = 5
SSD_ANCHORS = 6
# The block whose widened input is the first map to detect in: the last at 1/16 of the resolution.
SSD_FIRST_MAP = 13
# Each further map: channels of the narrowing 1x1, channels of the map.
SSD_EXTRA_MAPS = ((256, 512), (128, 256), (128, 256), (64, 128))


def _leaky(g: Builder, x: str, channels: int) -> str:
    return conv_norm_act(g, x, channels, Window(3), "LeakyRelu")


def tiny_yolo(
    batch: int = 1, resolution: int = 416, width: float = 1.0, classes: int = 20, seed: int = 0
) -> onnx.ModelProto:
    """Tiny YOLO v2: output (batch, 5 * (classes + 5), resolution / 32, resolution / 32)."""
    g = Builder("tiny_yolo", seed, width)
    x = g.image(batch, resolution)
    for index, channels in enumerate(YOLO_CHANNELS):
        x = _leaky(g, x, g.channels(channels))
        last = index == len(YOLO_CHANNELS) - 1
        # The last pool keeps the size: stride 1, padded below and to the right.
        x = g.max_pool(x, Window(2, 1, (0, 0, 1, 1)) if last else Window(2, 2, 0))
    for _ in range(2):
        x = _leaky(g, x, g.channels(1024))
    return g.model({"output": g.conv(x, YOLO_ANCHORS * (classes + 5), Window(1))})


def _features(g: Builder, x: str) -> list[str]:
    """Maps to detect in, from 1/16 of the resolution down."""
    maps: list[str] = []
    x = conv_norm_act(g, x, g.channels(32), Window(3, 2), "Relu6")
    for index, block in enumerate(MOBILENET_V2_BLOCKS):
        if index == SSD_FIRST_MAP:
            maps.append(expand(g, x, block))
        x = inverted_residual(g, x, block)
    maps.append(conv_norm_act(g, x, g.channels(1280), Window(1), "Relu6"))
    for narrow, channels in SSD_EXTRA_MAPS:
        x = conv_norm_act(g, maps[-1], g.channels(narrow), Window(1), "Relu6")
        x = depthwise(g, x, Window(3, 2), "Relu6")
        maps.append(conv_norm_act(g, x, g.channels(channels), Window(1), "Relu6"))
    return maps


def _head(g: Builder, feature: str, values: int) -> str:
    """`values` numbers for each anchor: (batch, anchors of this map, values)."""
    x = depthwise(g, feature, Window(3), "Relu6")
    x = g.conv(x, SSD_ANCHORS * values, Window(1))
    batch, _, rows, columns = g.shape(x)
    return g.reshape(g.transpose(x, (0, 2, 3, 1)), (batch, rows * columns * SSD_ANCHORS, values))


def ssd(batch: int = 1, resolution: int = 320, width: float = 1.0, classes: int = 91, seed: int = 0) -> onnx.ModelProto:
    """SSDLite on MobileNet v2: `scores` (batch, anchors, classes) and `boxes` (batch, anchors, 4) of six maps."""
    g = Builder("ssd", seed, width)
    maps = _features(g, g.image(batch, resolution))
    scores = g.softmax(g.concat([_head(g, feature, classes) for feature in maps]))
    return g.model({"scores": scores, "boxes": g.concat([_head(g, feature, 4) for feature in maps])})
