"""Which taps of a sliding window lie in the image."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from gacer_tune.kernels.window import Window

Expr = Any


def taps(window: Window, axis: int, index: Expr) -> tuple[Expr, Expr]:
    """First tap of an output row (axis 0) or column (axis 1) that lies in the image, and how many do."""
    if inside(window, axis):
        return 0, window.size[axis]
    start, step = index * window.stride[axis] - window.pad[axis], window.dilation[axis]
    first = T.bind((tirx.max(-start, 0) + step - 1) // step)
    behind = (window.image[axis] - 1 - start + step) // step
    return first, T.bind(tirx.max(tirx.min(window.size[axis], behind) - first, 0))


def inside(window: Window, axis: int) -> bool:
    """Whether all taps of all windows lie in the image along an axis."""
    reach = (window.out[axis] - 1) * window.stride[axis] + (window.size[axis] - 1) * window.dilation[axis]
    return window.pad[axis] == 0 and reach < window.image[axis]


def place(window: Window, axis: int, index: Expr, tap: Expr) -> Expr:
    """Image row or column that a tap of an output row or column reads."""
    return index * window.stride[axis] + tap * window.dilation[axis] - window.pad[axis]
