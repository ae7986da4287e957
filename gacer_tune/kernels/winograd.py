"""Winograd's minimal filtering for 3x3 and 5x5 windows with stride 1 (Lavin and Gray, 2015).

A convolution becomes three kernels: tiles of the image are transformed, each of the (m + r - 1)^2 points of the
transform is a matrix product over channels (one grouped 1x1 convolution whose groups are the points), and the products
are transformed back. F(4x4, 3x3) multiplies 4 times less than the window does, F(2x2, 5x5) 2.8, F(2x2, 3x3) 2.25 times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gacer_tune.kernels.blocks import FEW, MANY, block_size
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Points:
    """Where tiles of one size are evaluated: at `values`, and at infinity.

    image: the matrix that transforms a tile (transposed, as all of them are applied from the left); scales: what the
    window's transform is multiplied by at each value to go with it; far: the sign that goes with it at infinity.
    """

    values: tuple[int, ...]
    scales: tuple[float, ...]
    far: int
    image: Rows


POINTS = {
    4: Points(
        values=(0, 1, -1),
        scales=(1, 1 / 2, 1 / 2),
        far=-1,
        image=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    ),
    6: Points(
        values=(0, 1, -1, 2, -2),
        scales=(1 / 4, -1 / 6, -1 / 6, 1 / 24, 1 / 24),
        far=1,
        image=(
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Filtering:
    """F(m x m, r x r): tiles of m x m outputs of a window of r x r."""

    m: int
    r: int

    @property
    def extent(self) -> int:
        """Rows and columns of the image that a tile reads."""
        return self.m + self.r - 1

    @property
    def points(self) -> int:
        """Products for each tile and pair of channels."""
        return self.extent**2

    @property
    def image(self) -> Rows:
        return POINTS[self.extent].image

    @property
    def window(self) -> Rows:
        at = POINTS[self.extent]
        powers = (tuple(scale * x**i for i in range(self.r)) for x, scale in zip(at.values, at.scales, strict=True))
        return (*powers, (*(0 for _ in range(self.r - 1)), 1))

    @property
    def output(self) -> Rows:
        at = POINTS[self.extent]
        return tuple((*(x**i for x in at.values), at.far if i == self.m - 1 else 0) for i in range(self.m))


WAYS = (Filtering(2, 3), Filtering(4, 3), Filtering(2, 5))


def tiles(out: Tensor, kept: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover an output (n, oh, ow, o), kept x kept of it each."""
    return ceildiv(out.shape[1], kept), ceildiv(out.shape[2], kept)


def transformed(out: Tensor, way: Filtering, channels: int, pool: int = 1) -> Tensor:
    """Tiles in the transformed domain: (n, tile rows, tile columns, points x channels), dense."""
    return dense((out.shape[0], *tiles(out, way.m // pool), way.points * channels))


def window_points(weight: NDArray[np.float32], way: Filtering) -> NDArray[np.float32]:
    """(o, c, r, r) -> (points x o, c, 1, 1): the weights of the grouped convolution, computed in float64."""
    g = np.array(way.window)
    moved = np.einsum("ia,ocab,jb->ijoc", g, weight.astype(np.float64), g)
    flat: NDArray[np.float32] = moved.reshape(-1, weight.shape[1], 1, 1).astype(np.float32)
    return flat


@dataclass(frozen=True, slots=True)
class TransformTile:
    """An item is a row of tiles by `vectors` vectors of channels."""

    vectors: int


def item_count(rows: int, channels: int, tile: TransformTile, vector: int) -> int:
    return rows * ceildiv(channels // vector, tile.vectors)


def tile_candidates(rows: int, channels: int, vector: int) -> list[TransformTile]:
    """Whole rows of tiles where there are enough of them, else cut along the channels too."""
    sizes = (block_size(channels // vector, wanted, rows) for wanted in (FEW, MANY))
    return [TransformTile(size) for size in dict.fromkeys(sizes)]


def apply_rows(matrix: Rows, values: list[Any]) -> list[Any]:
    """matrix @ values for expressions; zeros are left out, ones are not multiplied by.

    Whether a product and the sum behind it become one instruction, which rounds once, the compiler decides by what is
    around them. By powers of two nothing is rounded, so it makes no difference: -5 x is -4 x - x.
    """
    found = []
    for row in matrix:
        pairs = zip(row, values, strict=True)
        terms = [(part, value) for factor, value in pairs for part in _powers_of_two(factor)]
        found.append(reduce(_add, terms[1:], _times(*terms[0])))
    return found


def _powers_of_two(factor: float) -> list[float]:
    """What adds up to a whole number or one power of two, the largest first: -5 -> -4, -1."""
    parts, rest = [], abs(factor)
    while rest:
        part = 2.0 ** math.floor(math.log2(rest))
        parts.append(math.copysign(part, factor))
        rest -= part
    return parts


def _times(factor: float, value: Any) -> Any:
    if abs(factor) != 1:
        return value * factor
    return value if factor > 0 else -value


def _add(total: Any, term: tuple[float, Any]) -> Any:
    factor, value = term
    return total + _times(factor, value) if factor > 0 else total - _times(-factor, value)
