"""Encoders of transformers: BERT and ViT, with the nodes that PyTorch exports for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from models.builder import Builder, Window

BERT_POSITIONS = 512
BERT_SEGMENTS = 2
GELU_MOMENT = 0.425


@dataclass(frozen=True, slots=True)
class Encoder:
    """Size of a transformer; the feed-forward part is four times as wide as `hidden`, which `heads` must divide."""

    layers: int
    hidden: int
    heads: int

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} with {self.heads} heads, a multiple of the heads is needed")


BERT_BASE = Encoder(12, 768, 12)
BERT_SMALL = Encoder(4, 256, 4)
VIT_TINY = Encoder(12, 192, 3)
VIT_SMALL = Encoder(12, 384, 6)


def _dense(g: Builder, x: str, features: int) -> str:
    """A linear layer over the last axis: MatMul and Add."""
    depth = g.shape(x)[-1]
    name = g.fresh("Dense")
    weight = g.weight(f"{name}.weight", (depth, features), (depth * g.moment(x)) ** -0.5)
    return g.add(g.matmul(x, weight), g.bias(f"{name}.bias", features))


def _layer_norm(g: Builder, x: str, epsilon: float) -> str:
    depth = g.shape(x)[-1]
    name = g.fresh("LayerNormalization")
    scale = g.constant(f"{name}.weight", g.random.uniform(0.7, 1.3, depth))
    shift = g.constant(f"{name}.bias", 0.1 * g.random.standard_normal(depth))
    return g.op(
        "LayerNormalization", [x, scale, shift], g.shape(x), attributes={"axis": -1, "epsilon": epsilon}, name=name
    )


def _gelu(g: Builder, x: str) -> str:
    """x * (1 + erf(x / sqrt(2))) * 0.5"""
    shape = g.shape(x)
    root, one, half = g.constant("gelu.root", 2**0.5), g.constant("gelu.one", 1.0), g.constant("gelu.half", 0.5)
    error = g.op("Erf", [g.op("Div", [x, root], shape)], shape)
    return g.op("Mul", [g.mul(x, g.add(error, one)), half], shape, moment=GELU_MOMENT)


def _heads(g: Builder, x: str, heads: int, order: tuple[int, ...]) -> str:
    batch, tokens, hidden = g.shape(x)
    return g.transpose(g.reshape(x, (batch, tokens, heads, hidden // heads)), order)


def attention(g: Builder, x: str, heads: int) -> str:
    """Multi-head self-attention over (batch, tokens, hidden), with its output projection."""
    batch, tokens, hidden = g.shape(x)
    query = _heads(g, _dense(g, x, hidden), heads, (0, 2, 1, 3))
    key = _heads(g, _dense(g, x, hidden), heads, (0, 2, 3, 1))
    value = _heads(g, _dense(g, x, hidden), heads, (0, 2, 1, 3))
    scores = g.matmul(query, key)
    root = g.constant("attention.root", (hidden // heads) ** 0.5)
    scores = g.op("Div", [scores, root], g.shape(scores))
    context = g.transpose(g.matmul(g.softmax(scores), value), (0, 2, 1, 3))
    return _dense(g, g.reshape(context, (batch, tokens, hidden)), hidden)


def _feed_forward(g: Builder, x: str) -> str:
    hidden = g.shape(x)[-1]
    return _dense(g, _gelu(g, _dense(g, x, 4 * hidden)), hidden)


def layer_norm_last(g: Builder, x: str, heads: int) -> str:
    """An encoder layer as in BERT: each part is added to its input, then normalised."""
    x = _layer_norm(g, g.add(attention(g, x, heads), x), 1e-12)
    return _layer_norm(g, g.add(_feed_forward(g, x), x), 1e-12)


def layer_norm_first(g: Builder, x: str, heads: int) -> str:
    """An encoder layer as in ViT: each part reads its input normalised and is added to it."""
    x = g.add(attention(g, _layer_norm(g, x, 1e-6), heads), x)
    return g.add(_feed_forward(g, _layer_norm(g, x, 1e-6)), x)


def _embed(g: Builder, vocab: int, hidden: int, tokens: str) -> str:
    """Sum of the embeddings of word, segment (all tokens in the first one) and position, normalised."""
    sequence = g.shape(tokens)[1]
    words = g.weight("word_embeddings.weight", (vocab, hidden), 1.0)
    segments = g.weight("segment_embeddings.weight", (BERT_SEGMENTS, hidden), 0.3)
    positions = g.weight("position_embeddings.weight", (max(BERT_POSITIONS, sequence), hidden), 0.3)
    no_segment = g.constant("segments", np.zeros((1, sequence)), np.int64)
    order = g.constant("positions", np.arange(sequence)[None], np.int64)
    x = g.add(g.gather(words, tokens), g.gather(segments, no_segment))
    return _layer_norm(g, g.add(x, g.gather(positions, order)), 1e-12)


def bert(
    batch: int = 1, sequence: int = 128, vocab: int = 30522, size: Encoder = BERT_BASE, seed: int = 0
) -> onnx.ModelProto:
    """BERT of any size: `tokens` (batch, sequence), below `vocab` -> `output` of each token, `pooled` of the first."""
    g = Builder("bert", seed)
    x = _embed(g, vocab, size.hidden, g.input("tokens", (batch, sequence), TensorProto.INT64))
    for _ in range(size.layers):
        x = layer_norm_last(g, x, size.heads)
    first = g.gather(x, g.constant("first", 0, np.int64), axis=1)
    return g.model({"output": x, "pooled": g.activate(g.linear(first, size.hidden), "Tanh")})


def bert_base(batch: int = 1, sequence: int = 128, vocab: int = 30522, seed: int = 0) -> onnx.ModelProto:
    """BERT base: 12 layers, hidden 768, 12 heads, 128 tokens."""
    return bert(batch, sequence, vocab, BERT_BASE, seed)


def bert_small(batch: int = 1, sequence: int = 128, vocab: int = 30522, seed: int = 0) -> onnx.ModelProto:
    """A small BERT: 4 layers, hidden 256, 4 heads, 128 tokens."""
    return bert(batch, sequence, vocab, BERT_SMALL, seed)


def vit(
    batch: int = 1, resolution: int = 224, size: Encoder = VIT_TINY, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """ViT of any size: patches of 16 x 16, a class token, logits; resolution a multiple of 16."""
    if resolution % 16:
        raise ValueError(f"vit: resolution {resolution}, a multiple of 16 is needed")
    g = Builder("vit", seed)
    patches = g.conv(g.image(batch, resolution), size.hidden, Window(16, 16, 0))
    _, hidden, rows, columns = g.shape(patches)
    patches = g.transpose(g.reshape(patches, (batch, hidden, rows * columns)), (0, 2, 1))
    token = g.weight("class_token.weight", (1, 1, hidden), 1.0)
    sizes = g.constant("class_token.sizes", (batch, 1, hidden), np.int64)
    x = g.concat([g.op("Expand", [token, sizes], (batch, 1, hidden)), patches])
    x = g.add(x, g.weight("position_embeddings.weight", (1, *g.shape(x)[1:]), 0.3))
    for _ in range(size.layers):
        x = layer_norm_first(g, x, size.heads)
    x = g.gather(_layer_norm(g, x, 1e-6), g.constant("first", 0, np.int64), axis=1)
    return g.model({"output": g.linear(x, classes)})


def vit_tiny(batch: int = 1, resolution: int = 224, classes: int = 1000, seed: int = 0) -> onnx.ModelProto:
    """ViT-Tiny/16: 12 layers, hidden 192, 3 heads."""
    return vit(batch, resolution, VIT_TINY, classes, seed)


def vit_small(batch: int = 1, resolution: int = 224, classes: int = 1000, seed: int = 0) -> onnx.ModelProto:
    """ViT-Small/16: 12 layers, hidden 384, 6 heads."""
    return vit(batch, resolution, VIT_SMALL, classes, seed)
