"""Variants of `Conv2d` on a GPU: rows are pixels, the reduction runs over (window row, window column, channel)."""

from __future__ import annotations

from math import prod

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda import product
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import Product, ProductTile


def product_of(spec: Conv2d) -> Product:
    """One product for each group."""
    inputs, outputs = spec.group_channels
    return Product(spec.groups, prod(spec.out.shape[:3]), outputs, prod(spec.window) * inputs)


def items(spec: Conv2d, tile: ProductTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return product_of(spec).blocks(tile)


def candidates(spec: Conv2d, gpu: Gpu) -> list[ProductTile]:
    """Variants worth measuring, most promising first."""
    return product.candidates(product_of(spec), gpu)
