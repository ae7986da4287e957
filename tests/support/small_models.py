"""Every model of models/ in a size that tests can afford."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx

from models import MODELS
from models.transformer import Encoder, bert, vit

# Indices into embedding tables stay below the smallest table of these models.
TABLE_ROWS = 50
RESOLUTIONS = {
    "alexnet": 64,
    "vgg16": 32,
    "resnet18": 32,
    "resnet34": 32,
    "resnet50": 32,
    "resnet101": 32,
    "googlenet": 64,
    "inception": 80,
    "densenet121": 32,
    "squeezenet": 32,
    "shufflenet": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3": 32,
    "efficientnet_b0": 32,
    "unet": 32,
    "tiny_yolo": 64,
    "ssd": 64,
}
SMALL: dict[str, Callable[..., onnx.ModelProto]] = {
    **{name: partial(MODELS[name], resolution=size, width=0.125) for name, size in RESOLUTIONS.items()},
    "bert": partial(bert, sequence=8, vocab=TABLE_ROWS, size=Encoder(2, 32, 4)),
    "bert_small": partial(MODELS["bert_small"], sequence=8, vocab=TABLE_ROWS),
    "vit": partial(vit, resolution=64, size=Encoder(2, 48, 3)),
    "vit_tiny": partial(MODELS["vit_tiny"], resolution=32, classes=10),
    "lstm": partial(MODELS["lstm"], steps=5, hidden=32),
    "dlrm": partial(MODELS["dlrm"], tables=4, rows=TABLE_ROWS, depth=16, width=0.125),
    "tiny_branchy": MODELS["tiny_branchy"],
    "tiny_mlp": MODELS["tiny_mlp"],
    "tiny_attention": MODELS["tiny_attention"],
}
