"""Weights in the order kernels read them, made once by numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gacer_tune.kernels.machine import Target
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


def winograd_weight(weight: Floats, points: int, machine: Target) -> Floats:
    """(points x o, c, 1, 1) -> (blocks, points, c, pack), zeros beyond o."""
    packed = conv_weight(weight, points, machine)
    return np.ascontiguousarray(packed.reshape(points, -1, *packed.shape[-2:]).swapaxes(0, 1))


def matrix_weight(weight: Floats, machine: Target) -> Floats:
    """(k, n) -> the packed weights of the 1x1 convolution that computes x @ weight."""
    return conv_weight(np.ascontiguousarray(weight.T)[:, :, None, None], 1, machine)


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
