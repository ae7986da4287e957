"""Convolution, also matrix multiplication, of bytes: whole numbers of 0 to 255 times whole numbers of -128 to 127.

It is `Conv2d` with words in place of channels: a word holds four neighbouring channels of a pixel, or four weights of
an output, and one instruction (VNNI) adds the four products of two words to a sum. Sums are whole numbers of 32 bits,
so they are exact, whatever their order; the program begins with them as float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gacer_tune.kernels.conv2d import Conv2d, ConvTile, candidates, footprint, items
from gacer_tune.kernels.machine import Target
from gacer_tune.kernels.tensor import Tensor, ceildiv, dense
from gacer_tune.kernels.window import Pair

__all__ = ["WORD", "ByteConv", "ConvTile", "candidates", "fits", "footprint", "items"]

WORD = 4  # bytes
_MOST = 2**31 // (255 * 128)  # products whose sum surely fits 32 bits


@dataclass(frozen=True, slots=True)
class ByteConv(Conv2d):
    """source (n, h, w, c) of bytes, neighbouring channels, c whole words; pairs as in `Conv2d`."""

    @property
    def group_channels(self) -> Pair:
        """Words of a pixel, and outputs."""
        return self.source.shape[3] // WORD, self.out.shape[3]

    @property
    def flops(self) -> int:
        return 2 * self.out.size * prod(self.window) * self.source.shape[3]

    def weight(self, machine: Target) -> Tensor:
        """Packed weights, as words: (1, blocks, rows, columns, words of a pixel, pack)."""
        words, outputs = self.group_channels
        return dense((1, ceildiv(outputs, machine.pack), *self.window, words, machine.pack), "int32")


def fits(channels: int, window: Pair) -> bool:
    """Whether pixels of so many channels are whole words, and sums over a window of them fit."""
    return channels % WORD == 0 and channels * prod(window) <= _MOST
