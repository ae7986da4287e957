"""Variants of `BatchMatmul` on a GPU."""

from __future__ import annotations

from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.cuda import product
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import Product, ProductTile


def product_of(spec: BatchMatmul) -> Product:
    return Product(*spec.extents)


def items(spec: BatchMatmul, tile: ProductTile, gpu: Gpu) -> int:  # noqa: ARG001 - the same for all
    return product_of(spec).blocks(tile)


def candidates(spec: BatchMatmul, gpu: Gpu) -> list[ProductTile]:
    """Variants worth measuring, most promising first."""
    return product.candidates(product_of(spec), gpu)
