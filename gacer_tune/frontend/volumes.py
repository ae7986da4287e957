"""Rule that spells convolutions of volumes as convolutions of images, whose kernels are fast.

The depth joins the batch, and what the window sees along it are more channels: x at depth d, d + 1, ... side by side.
A transposed convolution of depth stride s is s of these, each making every s-th depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.nodes import Array, attribute, attribute_ints

_PADS_BY_INPUT = 11
_PLAIN = ("NOTSET", "VALID")


@dataclass(frozen=True, slots=True)
class Tap:
    """A depth of the window, and how many depths ahead of the first one the input lies that it is multiplied with."""

    depth: int
    ahead: int


@dataclass(frozen=True, slots=True)
class _Volume:
    emit: Emitter
    node: onnx.NodeProto
    weight: Array
    shape: tuple[int, ...]  # of the input
    made: tuple[int, ...]  # of the output
    stride: int  # of the depth

    def images(self, taps: Sequence[Tap], count: int, step: int) -> str:
        """(batch * count, taps * channels, rows, columns): for each depth of the result what its window sees."""
        batch, channels, depth, *image = self.shape
        before = max(0, -min(tap.ahead for tap in taps))
        behind = max(0, max(tap.ahead for tap in taps) + (count - 1) * step + 1 - depth)
        x = _padded(self.emit, self.node.input[0], before, behind) if before or behind else self.node.input[0]
        seen = [self.slab(x, before + tap.ahead, count, step, before + depth + behind) for tap in taps]
        stack = self.emit.op("Concat", *seen, axis=1) if len(seen) > 1 else seen[0]
        turned = self.emit.op("Transpose", stack, perm=[0, 2, 1, 3, 4])
        return self.emit.reshape(turned, (batch * count, len(taps) * channels, *image))

    def slab(self, x: str, first: int, count: int, step: int, depth: int) -> str:
        """Depths from the first one on."""
        if (first, count, step) == (0, depth, 1):
            return x
        emit, last = self.emit, first + (count - 1) * step + 1
        return emit.op("Slice", x, *(emit.limit(number) for number in (first, last, 2, step)))

    def conv(self, images: str, weight: Array, count: int) -> str:
        """The node's operator on images, as (batch, outputs, count, rows, columns)."""
        inputs = [images, self.emit.constant(np.ascontiguousarray(weight), "weight"), *self.node.input[2:]]
        kept: dict[str, list[int]] = {}
        for name in ("strides", "dilations", "kernel_shape", "output_padding"):
            values = attribute_ints(self.node, name)
            if values is not None:
                kept[name] = list(values[1:])
        pads = attribute_ints(self.node, "pads")
        if pads is not None:
            kept["pads"] = [pads[axis] for axis in (1, 2, 4, 5)]
        found = self.emit.op(self.node.op_type, *inputs, **kept)
        batch, outputs, _, *image = self.made
        return self.emit.op(
            "Transpose", self.emit.reshape(found, (batch, count, outputs, *image)), perm=[0, 2, 1, 3, 4]
        )


def volume_to_images(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Conv and ConvTranspose of volumes with constant weights, in one group, with pads that are given."""
    volume = _volume(uses, node)
    if volume is None:
        return None
    made = _convolved(volume) if node.op_type == "Conv" else _transposed(volume)
    if made is None:
        return None
    emit = volume.emit
    emit.give(made, node.output[0], node.name)
    return Replacement(emit.nodes, emit.constants)


def _volume(uses: Uses, node: onnx.NodeProto) -> _Volume | None:
    if node.op_type not in ("Conv", "ConvTranspose") or node.domain or uses.opset < _PADS_BY_INPUT:
        return None
    known, made, weight = uses.types.get(node.input[0]), uses.types.get(node.output[0]), uses.array(node.input[1])
    if known is None or made is None or weight is None or len(known.shape) != 5 or known.element != TensorProto.FLOAT:
        return None
    plain = attribute(node, "auto_pad", "NOTSET") in _PLAIN and attribute_ints(node, "output_shape") is None
    if not plain or attribute(node, "group", 1) != 1:
        return None
    stride = (attribute_ints(node, "strides") or (1,))[0]
    return _Volume(Emitter(uses, node.output[0]), node, weight, known.shape, made.shape, stride)


def _padded(emit: Emitter, name: str, before: int, behind: int) -> str:
    """With zeros before and behind the depth."""
    pads = [0, 0, before, 0, 0, 0, 0, behind, 0, 0]
    return emit.op("Pad", name, emit.constant(np.asarray(pads), "pads"))


def _pad(node: onnx.NodeProto) -> int:
    """Of the depth, before it."""
    return (attribute_ints(node, "pads") or (0,))[0]


def _convolved(volume: _Volume) -> str:
    """weight (outputs, channels, depth, ...) -> (outputs, depth * channels, ...)"""
    outputs, channels, size, *window = volume.weight.shape
    dilation = (attribute_ints(volume.node, "dilations") or (1,))[0]
    taps = [Tap(depth, depth * dilation - _pad(volume.node)) for depth in range(size)]
    weight = volume.weight.swapaxes(1, 2).reshape(outputs, size * channels, *window)
    return volume.conv(volume.images(taps, volume.made[2], volume.stride), weight, volume.made[2])


def _transposed(volume: _Volume) -> str | None:
    """Depth z of the result is the sum over k of x at (z + pad - k) / stride, where that is whole, times weight k."""
    channels, outputs, size, *window = volume.weight.shape
    dilated = (attribute_ints(volume.node, "dilations") or (1,))[0] != 1
    if dilated or volume.stride > size:
        return None
    emit, stride, pad = volume.emit, volume.stride, _pad(volume.node)
    batch, _, depth, *image = volume.made
    count, parts = -(-depth // stride), []
    for first in range(stride):
        ahead = {k: divmod(first + pad - k, stride) for k in range(size)}
        taps = [Tap(k, whole) for k, (whole, rest) in ahead.items() if not rest]
        weight = volume.weight[:, :, [tap.depth for tap in taps]].transpose(2, 0, 1, 3, 4)
        stacked = weight.reshape(len(taps) * channels, outputs, *window)
        made = volume.conv(volume.images(taps, count, 1), stacked, count)
        parts.append(emit.reshape(made, (batch, outputs, count, 1, *image)) if stride > 1 else made)
    if stride == 1:
        return parts[0]
    whole = emit.reshape(emit.op("Concat", *parts, axis=3), (batch, outputs, count * stride, *image))
    return emit.slice(whole, 2, 0, depth) if depth < count * stride else whole
