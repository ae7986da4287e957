"""DLRM: the deep learning recommendation model, with the layer sizes of MLPerf and shorter embedding tables."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from models.builder import Builder

DENSE_FEATURES = 13
BOTTOM = (512, 256)
TOP = (1024, 1024, 512, 256)


def _layers(g: Builder, x: str, sizes: tuple[int, ...]) -> str:
    for size in sizes:
        x = g.relu(g.linear(x, size))
    return x


def _look_up(g: Builder, indices: str, rows: int, depth: int) -> list[str]:
    """One vector for each column of `indices`, from a table of its own: (batch, depth) each."""
    vectors: list[str] = []
    for table in range(g.shape(indices)[1]):
        weights = g.weight(f"embedding_{table}.weight", (rows, depth), 0.7)
        column = g.gather(indices, g.constant(f"column_{table}", table, np.int64), axis=1)
        vectors.append(g.gather(weights, column))
    return vectors


def _interact(g: Builder, dense: str, vectors: list[str]) -> str:
    """The dense vector, then the dot product of every pair of vectors: (batch, depth + n * (n - 1) / 2)."""
    batch, depth = g.shape(dense)
    count = 1 + len(vectors)
    stacked = g.reshape(g.concat([dense, *vectors]), (batch, count, depth))
    # A dot product is a sum over `depth` products of independent numbers.
    products = g.matmul(stacked, g.transpose(stacked, (0, 2, 1)), depth * g.moment(stacked) ** 2)
    rows, columns = np.tril_indices(count, -1)
    pairs = g.constant("pairs", rows * count + columns, np.int64)
    return g.concat([dense, g.gather(g.flatten(products), pairs, axis=1)])


def dlrm(
    batch: int = 1, tables: int = 26, rows: int = 2000, depth: int = 128, width: float = 1.0, seed: int = 0
) -> onnx.ModelProto:
    """DLRM: `dense` (batch, 13) and `sparse` (batch, tables), indices below `rows` -> probability of a click."""
    g = Builder("dlrm", seed, width)
    sparse = g.input("sparse", (batch, tables), TensorProto.INT64)
    dense = g.input("dense", (batch, DENSE_FEATURES))
    dense = _layers(g, dense, (*(g.channels(size) for size in BOTTOM), depth))
    x = _interact(g, dense, _look_up(g, sparse, rows, depth))
    x = _layers(g, x, tuple(g.channels(size) for size in TOP))
    return g.model({"output": g.activate(g.linear(x, 1), "Sigmoid")})
