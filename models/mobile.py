"""Networks of inverted residuals: MobileNet v2 and v3, EfficientNet-B0, as torchvision publishes them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from models.builder import Builder, Window


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual: 1x1 to `expanded` channels, depthwise, squeeze-and-excite, 1x1 to `channels`."""

    expanded: int
    channels: int
    kernel: int = 3
    stride: int = 1
    activation: str = "Relu6"
    squeezed: int = 0  # channels inside squeeze-and-excite, 0 for no such part


# Factor of expansion, kernel, stride of the first block, channels, number of blocks.
MOBILENET_V2_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 3, 2, 32, 3),
    (6, 3, 2, 64, 4),
    (6, 3, 1, 96, 3),
    (6, 3, 2, 160, 3),
    (6, 3, 1, 320, 1),
)
EFFICIENTNET_B0_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
MOBILENET_V3_BLOCKS = (
    Block(16, 16, activation="Relu"),
    Block(64, 24, 3, 2, "Relu"),
    Block(72, 24, 3, 1, "Relu"),
    Block(72, 40, 5, 2, "Relu", 24),
    Block(120, 40, 5, 1, "Relu", 32),
    Block(120, 40, 5, 1, "Relu", 32),
    Block(240, 80, 3, 2, "HardSwish"),
    Block(200, 80, 3, 1, "HardSwish"),
    Block(184, 80, 3, 1, "HardSwish"),
    Block(184, 80, 3, 1, "HardSwish"),
    Block(480, 112, 3, 1, "HardSwish", 120),
    Block(672, 112, 3, 1, "HardSwish", 168),
    Block(672, 160, 5, 2, "HardSwish", 168),
    Block(960, 160, 5, 1, "HardSwish", 240),
    Block(960, 160, 5, 1, "HardSwish", 240),
)


def _blocks(stages: tuple[tuple[int, ...], ...], activation: str, *, squeeze: bool) -> list[Block]:
    blocks: list[Block] = []
    depth = 32
    for factor, kernel, stride, channels, count in stages:
        for index in range(count):
            squeezed = depth // 4 if squeeze else 0
            blocks.append(Block(factor * depth, channels, kernel, 1 if index else stride, activation, squeezed))
            depth = channels
    return blocks


MOBILENET_V2_BLOCKS = _blocks(MOBILENET_V2_STAGES, "Relu6", squeeze=False)
EFFICIENTNET_B0_BLOCKS = _blocks(EFFICIENTNET_B0_STAGES, "Silu", squeeze=True)


def conv_norm_act(g: Builder, x: str, channels: int, window: Window, activation: str) -> str:
    return g.activate(g.conv_norm(x, channels, window), activation)


def depthwise(g: Builder, x: str, window: Window, activation: str) -> str:
    """Each channel convolved alone, batch norm, activation."""
    channels = g.shape(x)[1]
    return g.activate(g.conv_norm(x, channels, window, channels), activation)


def _squeeze_excite(g: Builder, x: str, squeezed: int, activation: str) -> str:
    """Scales each channel by a gate computed from the channel means; MobileNet v3 has the hard kind of gate."""
    silu = activation == "Silu"
    gate = g.conv(g.global_average_pool(x), g.channels(squeezed), Window(1))
    gate = g.conv(g.activate(gate, "Silu" if silu else "Relu"), g.shape(x)[1], Window(1))
    return g.mul(x, g.activate(gate, "Sigmoid" if silu else "HardSigmoid"))


def expand(g: Builder, x: str, block: Block) -> str:
    """The first third of a block; nothing where the block does not widen."""
    channels = g.channels(block.expanded)
    return x if channels == g.shape(x)[1] else conv_norm_act(g, x, channels, Window(1), block.activation)


def inverted_residual(g: Builder, x: str, block: Block) -> str:
    inner = depthwise(g, expand(g, x, block), Window(block.kernel, block.stride), block.activation)
    if block.squeezed:
        inner = _squeeze_excite(g, inner, block.squeezed, block.activation)
    inner = g.conv_norm(inner, g.channels(block.channels), Window(1))
    return g.add(inner, x) if g.shape(inner) == g.shape(x) else inner


def _classifier(g: Builder, x: str, blocks: list[Block], classes: int) -> onnx.ModelProto:
    activation = blocks[0].activation
    x = conv_norm_act(g, x, g.channels(32), Window(3, 2), activation)
    for block in blocks:
        x = inverted_residual(g, x, block)
    x = conv_norm_act(g, x, g.channels(1280), Window(1), activation)
    return g.model({"output": g.classify(x, classes)})


def mobilenet_v2(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """MobileNet v2: inverted residuals, ReLU6."""
    g = Builder("mobilenet_v2", seed, width)
    return _classifier(g, g.image(batch, resolution), MOBILENET_V2_BLOCKS, classes)


def efficientnet_b0(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """EfficientNet-B0: SiLU, squeeze-and-excite, depthwise 5x5."""
    g = Builder("efficientnet_b0", seed, width)
    return _classifier(g, g.image(batch, resolution), EFFICIENTNET_B0_BLOCKS, classes)


def mobilenet_v3(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """MobileNet v3 large: hard swish, squeeze-and-excite."""
    g = Builder("mobilenet_v3", seed, width)
    x = conv_norm_act(g, g.image(batch, resolution), g.channels(16), Window(3, 2), "HardSwish")
    for block in MOBILENET_V3_BLOCKS:
        x = inverted_residual(g, x, block)
    x = conv_norm_act(g, x, g.channels(960), Window(1), "HardSwish")
    x = g.activate(g.linear(g.flatten(g.global_average_pool(x)), g.channels(1280)), "HardSwish")
    return g.model({"output": g.linear(x, classes)})
