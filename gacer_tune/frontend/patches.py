"""Rule that spells Col2Im, which adds up patches, as a transposed convolution with weights of ones and zeros."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.frontend.cells import Emitter
from gacer_tune.frontend.graph import Replacement, Uses
from gacer_tune.frontend.nodes import attribute_ints, label


def col2im_to_transposed(uses: Uses, node: onnx.NodeProto) -> Replacement | None:
    """Col2Im of float32 (batch, channels * window, patches) -> ConvTranspose of (batch, channels * window, *grid).

    A group for each channel: (window, 1, *window), ones where value and place are the same. Only sequences and images.
    """
    known = uses.types.get(node.input[0]) if node.op_type == "Col2Im" and not node.domain else None
    image, window = (_numbers(uses, name) for name in node.input[1:3]) if known else (None, None)
    if known is None or image is None or window is None or known.element != TensorProto.FLOAT or len(image) > 2:
        return None
    rank, (batch, values, patches) = len(image), known.shape
    strides, dilations = (attribute_ints(node, name) or (1,) * rank for name in ("strides", "dilations"))
    pads = attribute_ints(node, "pads") or (0,) * 2 * rank
    room = [
        size + pads[axis] + pads[rank + axis] - dilations[axis] * (window[axis] - 1) - 1
        for axis, size in enumerate(image)
    ]
    grid = [free // stride + 1 for free, stride in zip(room, strides, strict=True)]
    places = int(np.prod(window))
    if np.prod(grid) != patches or values % places:
        raise UserError(
            f"node {label(node)!r} (Col2Im): {values} x {patches} values, where an image of {image} in windows of"
            f" {window} takes multiples of {places} x {int(np.prod(grid))}"
        )
    emit, channels = Emitter(uses, node.output[0]), values // places
    ones = np.eye(places, dtype=np.float32).reshape(places, 1, *window)
    inputs = [
        emit.reshape(node.input[0], (batch, values, *grid)),
        emit.constant(np.tile(ones, (channels, 1, *(1,) * rank)), "ones"),
    ]
    left = [free % stride for free, stride in zip(room, strides, strict=True)]
    made = emit.op(
        "ConvTranspose", *inputs, group=channels, kernel_shape=window, strides=strides, dilations=dilations,
        pads=pads, output_padding=left,
    )  # fmt: skip
    emit.give(made, node.output[0], node.name)
    return Replacement(emit.nodes, emit.constants)


def _numbers(uses: Uses, name: str) -> tuple[int, ...] | None:
    array = uses.array(name)
    return None if array is None else tuple(int(number) for number in array)
