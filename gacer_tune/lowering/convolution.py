"""What convolutions and pooling share: images as kernels see them."""

from __future__ import annotations

from collections.abc import Sequence

from gacer_tune.lowering.context import CHANNELS_LAST, Lowering
from gacer_tune.lowering.graph import Node
from gacer_tune.lowering.view import View

FEW_CHANNELS = 4  # so few input channels are read where they are, whatever their strides


def channels_behind(rank: int) -> tuple[int, ...]:
    """Memory order of images (n, c, h, w) and sequences (n, c, w) with the channels last."""
    return (0, *range(2, rank), 1)


def image_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """(n, c, h, w) -> (n, h, w, c)"""
    return tuple(shape[axis] for axis in CHANNELS_LAST)


def image(view: View) -> View:
    """(n, c, w) -> (n, c, 1, w); images stay."""
    if len(view.shape) == 4:
        return view
    n, c, w = view.shape
    return view.as_strided((n, c, 1, w), (view.strides[0], view.strides[1], 0, view.strides[2]))


def images(views: Sequence[View]) -> list[View]:
    """Images or sequences as kernels see them: (n, h, w, c)."""
    return [image(view).permute(CHANNELS_LAST) for view in views]


def bias_of(low: Lowering, node: Node) -> View | None:
    """A Conv's bias, to be broadcast over its output."""
    bias = low.weight(f"{node.name}.bias", low.graph.constant(node, 2)) if node.given(2) else None
    return along_channels(bias, len(low.graph.shapes[node.inputs[0]]))


def along_channels(bias: View | None, rank: int) -> View | None:
    """(c) -> (1, c, 1, 1), to be broadcast over an image."""
    if bias is None:
        return None
    return bias.as_strided((1, bias.shape[0]) + (1,) * (rank - 2), (0, 1) + (0,) * (rank - 2))


def channels_last(low: Lowering, name: str, source: View, always: bool) -> View:
    """Bring an image's channels next to each other, unless they are few and need not be."""
    channels = source.shape[1]
    if source.strides[1] == 1 or channels == 1 or (channels <= FEW_CHANNELS and not always):
        return source
    return low.materialize(name, source, CHANNELS_LAST)
