"""Lowers convolutions and products with constant weights to those of narrow factors: tiles of bfloat16, where the
processor is to use them, or bytes, where the source is stored as such."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from gacer_tune.kernels import pack
from gacer_tune.kernels.byte_conv import ByteConv
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.narrow import FEWEST, NarrowConv, fits
from gacer_tune.lowering.context import Lowering
from gacer_tune.lowering.graph import Array
from gacer_tune.lowering.view import View


def tiled(machine: Target) -> bool:
    return isinstance(machine, Machine) and machine.tiles != ""


def chosen(machine: Target, spec: Conv2d) -> NarrowConv | ByteConv | None:
    """The same convolution of bytes, if those are its source, or by tiles; None where it stays float32: without tiles,
    for groups, for few channels."""
    inputs, outputs = spec.group_channels
    if spec.source.dtype == "byte" and spec.groups == 1:
        return ByteConv(*(getattr(spec, part.name) for part in fields(spec)))
    if not tiled(machine) or spec.groups != 1 or outputs < FEWEST:
        return None
    found = NarrowConv(spec.source, spec.out, spec.window, spec.stride, spec.pad, spec.dilation, spec.program)
    return found if (inputs >= FEWEST or found.folds) and fits(found) else None


def convolution(low: Lowering, name: str, spec: Conv2d, weight: Array) -> tuple[Conv2d | NarrowConv, View]:
    """How a convolution is computed, and its packed weights; weight (o, c / groups, rows, columns)."""
    narrow = chosen(low.machine, spec)
    if isinstance(narrow, ByteConv):
        return narrow, low.weight(f"{name}.weight", pack.byte_weight(weight.astype(np.int8), low.machine))
    if narrow is not None:
        return narrow, low.weight(f"{name}.weight", pack.narrow_weight(weight, narrow.folds), exact=True)
    return spec, low.weight(f"{name}.weight", pack.conv_weight(weight, spec.groups, low.machine))
