"""Builders of ONNX models for examples, tests and benchmarks: published architectures with random weights.

Every builder takes `batch` and `seed` and returns a model with static shapes; the same arguments give the same bytes.
The other arguments (`resolution`, `width`, `sequence`, ...) make it smaller. Float inputs expect numbers of mean 0 and
deviation 1.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx

from models.classic import alexnet, squeezenet, vgg16
from models.densenet import densenet121
from models.detection import ssd, tiny_yolo
from models.inception import googlenet, inception
from models.mobile import efficientnet_b0, mobilenet_v2, mobilenet_v3
from models.recommendation import dlrm
from models.recurrent import lstm
from models.resnet import resnet18, resnet34, resnet50, resnet101
from models.shufflenet import shufflenet
from models.tiny import tiny_attention, tiny_branchy, tiny_mlp
from models.transformer import bert_base, bert_small, vit_small, vit_tiny
from models.unet import unet

_BUILDERS: tuple[Callable[..., onnx.ModelProto], ...] = (
    alexnet,
    vgg16,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    googlenet,
    inception,
    densenet121,
    squeezenet,
    shufflenet,
    mobilenet_v2,
    mobilenet_v3,
    efficientnet_b0,
    unet,
    tiny_yolo,
    ssd,
    bert_small,
    bert_base,
    vit_tiny,
    vit_small,
    lstm,
    dlrm,
    tiny_branchy,
    tiny_mlp,
    tiny_attention,
)

MODELS: dict[str, Callable[..., onnx.ModelProto]] = {builder.__name__: builder for builder in _BUILDERS}
