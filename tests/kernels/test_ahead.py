"""Weights asked for ahead: all of the next tile's, evenly, and only where that pays."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gacer_tune.kernels.bmm import BatchMatmul, BmmTile
from gacer_tune.kernels.conv2d import Conv2d, ConvTile
from gacer_tune.kernels.emit import bmm, conv2d
from gacer_tune.kernels.emit.ahead import RAREST, Ahead
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.tensor import dense

MACHINE = Machine(isa="avx512", mcpu="skylake-avx512", vector=16, registers=32, l2=1 << 20, tiles="")
LINE = 16  # float32 of a cache line
BUFFER = SimpleNamespace(dtype="float32")


def asked(tiles: int, size: int, runs: int, count: int) -> tuple[list[int], Ahead]:
    """First elements of the lines that all tiles of a sweep ask for."""
    found: list[int] = []
    for turn in range(tiles):
        ahead = Ahead(BUFFER, 0, size, tiles, turn, runs, count, False)
        if turn < ahead.asking:
            for run in range(runs):
                for number in range(count // ahead.every):
                    place = ahead.place(run, number)
                    found += range(place, place + ahead.elements, LINE)
    return found, ahead


@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 7, 14, 33, 64])
@pytest.mark.parametrize(
    ("size", "runs", "count"), [(32, 1, 512), (64, 9, 512), (32, 9, 96), (16, 1, 70), (128, 1, 34)]
)
def test_a_sweep_asks_for_all_weights_of_the_next_tile(tiles: int, size: int, runs: int, count: int) -> None:
    found, ahead = asked(tiles, size, runs, count)
    wanted = set(range(0, runs * count * size, LINE))
    assert wanted <= set(found)
    # Some again, by the last tile that asks.
    assert len(found) < len(wanted) + runs * (count // ahead.every + 1) * ahead.at_once


def test_requests_are_as_rare_as_the_tiles_of_a_sweep_allow() -> None:
    assert [asked(tiles, 32, 1, 512)[1].every for tiles in (1, 2, 4, 7, 16, 64)] == [1, 1, 2, 3, 8, RAREST]
    assert [asked(tiles, 64, 1, 512)[1].at_once for tiles in (1, 2, 4, 7)] == [4, 2, 1, 1]


def convolution(pixels: int, inputs: int, outputs: int, tile: ConvTile) -> str:
    spec = Conv2d(dense((1, 1, pixels, inputs)), dense((1, 1, pixels, outputs)))
    return str(conv2d.emit(spec, tile, MACHINE, "kernel").script())


def test_a_convolution_asks_where_a_sweep_is_short_and_weights_are_to_come() -> None:
    swept = ConvTile(2, 14, 1, 0, 1, "ohw")
    assert "prefetch" in convolution(49, 512, 512, swept)
    assert "prefetch" not in convolution(49, 512, 512, ConvTile(2, 14, 1, 1, 2, "hwo")), "weights are read once a pixel"
    assert "prefetch" not in convolution(49, 512, 32, swept), "there is no next tile"
    assert "prefetch" not in convolution(3136, 64, 64, swept), "hidden behind the pixels"
    assert "prefetch" not in convolution(49, 8192, 512, swept), "no room for two tiles"


def test_a_product_asks_unless_most_blocks_of_rows_find_weights_in_a_cache() -> None:
    def product(tile: BmmTile) -> str:
        spec = BatchMatmul(dense((1, 128, 512)), dense((1, 16, 512, 32)), dense((1, 128, 512)), constant=True)
        return str(bmm.emit(spec, tile, MACHINE, "kernel").script())

    assert "prefetch" in product(BmmTile(2, 13, 5, 2, True))
    assert "prefetch" not in product(BmmTile(2, 13, 1, 4, True))
