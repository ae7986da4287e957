"""GoogLeNet (Inception v1) and Inception v3: modules of parallel branches, concatenated."""

from __future__ import annotations

import onnx

from models.builder import Builder, Window

Chain = tuple[tuple[int, Window], ...]

ONE, THREE, FIVE = Window(1), Window(3), Window(5)
ROW, COLUMN = Window((1, 7)), Window((7, 1))
SHRINK = Window(3, 2, 0)
SHRINK_CEIL = Window(3, 2, 0, ceil=True)

# 1x1; 1x1 then 3x3; 1x1 then 5x5; 1x1 after the pool. Table 1 of "Going deeper with convolutions".
GOOGLENET_STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def _conv_relu(g: Builder, x: str, channels: int, window: Window) -> str:
    return g.relu(g.conv(x, g.channels(channels), window))


def _response_norm(g: Builder, x: str) -> str:
    attributes = {"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    return g.op("LRN", [x], g.shape(x), attributes=attributes, moment=g.moment(x))


def _googlenet_module(g: Builder, x: str, channels: tuple[int, ...]) -> str:
    direct, reduce3, out3, reduce5, out5, pooled = channels
    return g.concat(
        [
            _conv_relu(g, x, direct, ONE),
            _conv_relu(g, _conv_relu(g, x, reduce3, ONE), out3, THREE),
            _conv_relu(g, _conv_relu(g, x, reduce5, ONE), out5, FIVE),
            _conv_relu(g, g.max_pool(x, THREE), pooled, ONE),
        ]
    )


def googlenet(
    batch: int = 1, resolution: int = 224, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """GoogLeNet as first published: 5x5 branches, local response normalization, no batch normalization."""
    g = Builder("googlenet", seed, width)
    x = _conv_relu(g, g.image(batch, resolution), 64, Window(7, 2))
    x = _response_norm(g, g.max_pool(x, SHRINK_CEIL))
    x = _conv_relu(g, _conv_relu(g, x, 64, ONE), 192, THREE)
    x = _response_norm(g, x)
    for stage in GOOGLENET_STAGES:
        x = g.max_pool(x, SHRINK_CEIL)
        for channels in stage:
            x = _googlenet_module(g, x, channels)
    return g.model({"output": g.classify(x, classes)})


def _chain(g: Builder, x: str, chain: Chain) -> str:
    for channels, window in chain:
        x = g.conv_norm_relu(x, g.channels(channels), window)
    return x


def _module(g: Builder, x: str, *chains: Chain, pool: str) -> str:
    """The chains beside each other, and the pool branch after them."""
    return g.concat([*(_chain(g, x, chain) for chain in chains), pool])


def _module_a(g: Builder, x: str, pooled: int) -> str:
    pool = _chain(g, g.average_pool(x, THREE), ((pooled, ONE),))
    twice = ((64, ONE), (96, THREE), (96, THREE))
    return _module(g, x, ((64, ONE),), ((48, ONE), (64, FIVE)), twice, pool=pool)


def _module_c(g: Builder, x: str, inner: int) -> str:
    pool = _chain(g, g.average_pool(x, THREE), ((192, ONE),))
    once = ((inner, ONE), (inner, ROW), (192, COLUMN))
    twice = ((inner, ONE), (inner, COLUMN), (inner, ROW), (inner, COLUMN), (192, ROW))
    return _module(g, x, ((192, ONE),), once, twice, pool=pool)


def _fork(g: Builder, x: str) -> str:
    return g.concat([_chain(g, x, ((384, Window(sides)),)) for sides in ((1, 3), (3, 1))])


def _module_e(g: Builder, x: str) -> str:
    return g.concat(
        [
            _chain(g, x, ((320, ONE),)),
            _fork(g, _chain(g, x, ((384, ONE),))),
            _fork(g, _chain(g, x, ((448, ONE), (384, THREE)))),
            _chain(g, g.average_pool(x, THREE), ((192, ONE),)),
        ]
    )


def inception(
    batch: int = 1, resolution: int = 299, width: float = 1.0, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """Inception v3 with 1x7 and 7x1 convolutions, without the auxiliary classifier; resolution at least 75."""
    g = Builder("inception", seed, width)
    x = _chain(g, g.image(batch, resolution), ((32, SHRINK), (32, Window(3, 1, 0)), (64, THREE)))
    x = _chain(g, g.max_pool(x, SHRINK), ((80, ONE), (192, Window(3, 1, 0))))
    x = g.max_pool(x, SHRINK)
    for pooled in (32, 64, 64):
        x = _module_a(g, x, pooled)
    x = _module(g, x, ((384, SHRINK),), ((64, ONE), (96, THREE), (96, SHRINK)), pool=g.max_pool(x, SHRINK))
    for inner in (128, 160, 160, 192):
        x = _module_c(g, x, inner)
    side = ((192, ONE), (192, ROW), (192, COLUMN), (192, SHRINK))
    x = _module(g, x, ((192, ONE), (320, SHRINK)), side, pool=g.max_pool(x, SHRINK))
    for _ in range(2):
        x = _module_e(g, x)
    return g.model({"output": g.classify(x, classes)})
