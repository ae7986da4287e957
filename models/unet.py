"""U-Net: an encoder, and a decoder that reads the encoder's output of the same size."""

from __future__ import annotations

import onnx

from models.builder import Builder, Window

CHANNELS = (64, 128, 256, 512, 1024)


def _two_convs(g: Builder, x: str, channels: int) -> str:
    for _ in range(2):
        x = g.conv_norm_relu(x, channels, Window(3))
    return x


def unet(batch: int = 1, resolution: int = 256, width: float = 1.0, classes: int = 2, seed: int = 0) -> onnx.ModelProto:
    """U-Net with padded convolutions: logits (batch, classes, resolution, resolution); resolution a multiple of 16."""
    if resolution % 16:
        raise ValueError(f"unet: resolution {resolution}, a multiple of 16 is needed")
    g = Builder("unet", seed, width)
    x = _two_convs(g, g.image(batch, resolution), g.channels(CHANNELS[0]))
    skips: list[str] = []
    for channels in CHANNELS[1:]:
        skips.append(x)
        x = _two_convs(g, g.max_pool(x, Window(2, 2, 0)), g.channels(channels))
    for skip in reversed(skips):
        channels = g.shape(skip)[1]
        x = _two_convs(g, g.concat([skip, g.upsample_conv(x, channels)]), channels)
    return g.model({"output": g.conv(x, classes, Window(1))})
