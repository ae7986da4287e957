"""Weights in the order kernels read them, made once by numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gacer_tune.kernels.byte_conv import WORD
from gacer_tune.kernels.machine import Target
from gacer_tune.kernels.narrow import BLOCK, DEPTH
from gacer_tune.kernels.tensor import ceildiv

Floats = NDArray[np.float32]


def conv_weight(weight: Floats, groups: int, machine: Target) -> Floats:
    """(o, c / groups, rows, columns) -> (groups, blocks, rows, columns, c / groups, pack), zeros beyond o."""
    outputs, inputs, rows, columns = weight.shape
    each, pack = outputs // groups, machine.pack
    blocks = ceildiv(each, pack)
    padded = np.zeros((groups, blocks * pack, inputs, rows, columns), np.float32)
    padded[:, :each] = weight.reshape(groups, each, inputs, rows, columns)
    split = padded.reshape(groups, blocks, pack, inputs, rows, columns)
    return np.ascontiguousarray(split.transpose(0, 1, 4, 5, 3, 2))


def byte_weight(weight: NDArray[np.int8], machine: Target) -> NDArray[np.int32]:
    """(o, c, rows, columns) -> words (1, blocks, rows, columns, c / WORD, pack), zeros beyond o."""
    outputs, inputs, rows, columns = weight.shape
    blocks, words = ceildiv(outputs, machine.pack), inputs // WORD
    padded = np.zeros((blocks * machine.pack, inputs, rows, columns), np.int8)
    padded[:outputs] = weight
    split = padded.reshape(1, blocks, machine.pack, words, WORD, rows, columns)
    packed = np.ascontiguousarray(split.transpose(0, 1, 5, 6, 3, 2, 4))
    return packed.view(np.int32).reshape(packed.shape[:-1])


def narrow_weight(weight: Floats, folds: bool) -> NDArray[np.uint16]:
    """(o, c, rows, columns) -> bfloat16 (blocks, 2 tiles, rows, columns, c / DEPTH, DEPTH / 2, BLOCK), zeros beyond o
    and c. A row of a tile holds, of each of its outputs, the weights of two neighbouring inputs.

    folds: (c, columns) are inputs of one column, see `NarrowConv`.
    """
    if folds:
        weight = weight.swapaxes(2, 3).reshape(len(weight), -1, weight.shape[2], 1)
    outputs, inputs, rows, columns = weight.shape
    blocks, chunks = ceildiv(outputs, BLOCK), ceildiv(inputs, DEPTH)
    padded = np.zeros((blocks * BLOCK, chunks * DEPTH, rows, columns), np.uint16)
    padded[:outputs, :inputs] = bfloat16(weight)
    split = padded.reshape(blocks, 2, BLOCK // 2, chunks, DEPTH // 2, 2, rows, columns)
    packed = np.ascontiguousarray(split.transpose(0, 1, 6, 7, 3, 4, 2, 5))
    return packed.reshape(blocks, 2, rows, columns, chunks, DEPTH // 2, BLOCK)


def bfloat16(values: Floats) -> NDArray[np.uint16]:
    """Rounded to the nearest, to even where two are; what is no number stays so. The upper halves of float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, rounded).astype(np.uint16)


def winograd_weight(weight: Floats, points: int, machine: Target) -> Floats:
    """(points x o, c, 1, 1) -> (blocks, points, c, pack), zeros beyond o."""
    packed = conv_weight(weight, points, machine)
    return np.ascontiguousarray(packed.reshape(points, -1, *packed.shape[-2:]).swapaxes(0, 1))


def depthwise_weight(weight: Floats, machine: Target) -> Floats:
    """(c, 1, rows, columns) -> (rows, columns, c padded to the vector)."""
    channels = weight.shape[0]
    padded = np.zeros((ceildiv(channels, machine.vector) * machine.vector, *weight.shape[2:]), np.float32)
    padded[:channels] = weight[:, 0]
    return np.ascontiguousarray(padded.transpose(1, 2, 0))


def gate_weight(weight: Floats, machine: Target) -> Floats:
    """(k, parts * k) -> (blocks of units, k, parts, units of a block), zeros beyond the last unit."""
    units, columns = weight.shape
    parts, blocks = columns // units, ceildiv(units, machine.vector)
    padded = np.zeros((units, parts, blocks * machine.vector), np.float32)
    padded[:, :, :units] = weight.reshape(units, parts, units)
    split = padded.reshape(units, parts, blocks, machine.vector)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3))
