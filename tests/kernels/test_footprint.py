"""What a work item needs of a core's own cache while it runs, against figures counted by hand."""

from dataclasses import replace

import pytest

from gacer_tune.kernels import rules
from gacer_tune.kernels.attention import Attention, AttentionTile
from gacer_tune.kernels.bmm import BatchMatmul, BmmTile
from gacer_tune.kernels.conv2d import Conv2d, ConvTile
from gacer_tune.kernels.cuda.gpu import GPUS
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.inverted import Inverted, InvertedTile
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.mapping import mapping
from gacer_tune.kernels.normed import Normed, NormedTile
from gacer_tune.kernels.planes import PlaneTile
from gacer_tune.kernels.program import NOTHING
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.tensor import dense
from gacer_tune.kernels.winograd import Filtering
from gacer_tune.kernels.winograd_conv import Run, WinogradConv, candidates, items

AVX2 = MACHINES["avx2"]  # 8 numbers a vector
CONV = Conv2d(dense((1, 28, 28, 32)), dense((1, 28, 28, 64)), (3, 3), pad=(1, 1))
OHW = ConvTile(vectors=2, columns=4, rows=7, width=0, channels=2, order="ohw")
PIXEL, WEIGHT = 4 * 32, 4 * 9 * 32  # bytes of a pixel's channels, and of one output channel's weights


def footprint(spec: rules.Spec, tile: object, machine: Machine = AVX2) -> int:
    return rules.footprint(spec, tile, machine)


@pytest.mark.parametrize(
    ("tile", "channels", "pixels"),
    [
        pytest.param(OHW, 16, 9 * 28, id="two channel tiles sweep over seven rows, whose windows reach nine"),
        pytest.param(replace(OHW, channels=1), 16, 3 * 6, id="one channel tile: a row's pixels stream"),
        pytest.param(replace(OHW, width=3), 16, 9 * 14, id="twelve columns, whose windows reach fourteen"),
        pytest.param(replace(OHW, order="hwo"), 32, 3 * 6, id="a column tile meets both channel tiles"),
        pytest.param(replace(OHW, order="hwo", channels=9), 64, 3 * 6, id="no more channels than there are"),
        pytest.param(replace(OHW, rows=28), 16, 28 * 28, id="no more rows than there are"),
    ],
)
def test_a_convolution_comes_back_to_weights_and_pixels(tile: ConvTile, channels: int, pixels: int) -> None:
    assert footprint(CONV, tile) == channels * WEIGHT + pixels * PIXEL


def test_strides_and_dilation_widen_what_is_read() -> None:
    spec = replace(CONV, out=dense((1, 13, 13, 64)), stride=(2, 2), pad=(0, 0), dilation=(1, 2))
    assert footprint(spec, replace(OHW, rows=2, width=1)) == 16 * WEIGHT + 5 * 11 * PIXEL


def test_a_group_reads_its_own_channels() -> None:
    assert footprint(replace(CONV, groups=4), replace(OHW, channels=1)) == 4 * 9 * 8 * 16 + 18 * 4 * 8


def test_a_product_comes_back_to_a_column_tile_and_to_its_rows() -> None:
    spec = BatchMatmul(dense((1, 50, 96)), dense((1, 96, 64)), dense((1, 50, 64)))
    several = BmmTile(vectors=2, rows=6, high=3, wide=2, packed=True)
    assert footprint(spec, several) == 4 * 96 * (16 + 18)
    assert footprint(spec, replace(several, wide=1)) == 4 * 96 * (16 + 6), "rows are read for one column tile only"
    assert footprint(spec, replace(several, high=20)) == 4 * 96 * (16 + 50), "no more rows than there are"


def test_a_product_that_is_normalised_comes_back_to_its_rows_too() -> None:
    rows = dense((50, 70))
    product = BatchMatmul(dense((50, 96)), dense((5, 96, 16)), rows, constant=True)
    spec = Normed(product, Rows(rows, rows, "layer_norm"))
    # Twelve tiles of rows, of 5 at most: up to 20 rows to multiply, 17 to normalise.
    assert footprint(spec, NormedTile(vectors=2, high=4, blocks=3)) == 4 * 96 * (16 + 5 * 4) + 4 * 70 * 17


def test_winograd_comes_back_to_its_scratch() -> None:
    spec = WinogradConv(dense((1, 28, 28, 32)), dense((1, 28, 28, 64)), Filtering(4, 3), (1, 1))
    assert footprint(spec, Run(rows=5, high=2)) == 4 * (10 * 36 * (32 + 16) + 32 * 16)


def test_winograd_offers_less_scratch_for_more_items() -> None:
    """So that no single variant has the most items and the smallest footprint of all that are timed."""
    for size, channels in ((112, 64), (56, 128), (28, 256)):
        spec = WinogradConv(dense((1, size, size, channels)), dense((1, size, size, channels)), Filtering(4, 3), (1, 1))
        tiles = candidates(spec, AVX2)
        counts = [items(spec, tile, AVX2) for tile in tiles]
        assert len(tiles) > 1
        assert counts == sorted(counts) and len(set(counts)) == len(counts)
        assert min(tiles, key=lambda tile: footprint(spec, tile)) == tiles[-1]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_convolutions_offer_half_of_the_weights(machine: Machine) -> None:
    shape = dense((1, 14, 14, 128))
    spec = Conv2d(shape, shape, (3, 3), pad=(1, 1))
    *others, thin = rules.candidates(spec, machine)
    assert (thin.vectors, thin.channels) == (1, 1) and 1 not in {tile.vectors for tile in others}
    assert footprint(spec, thin, machine) < 0.9 * min(footprint(spec, tile, machine) for tile in others)


def test_attention_comes_back_to_keys_values_and_scores() -> None:
    heads = (2, 30, 8)
    spec = Attention(dense(heads), dense((2, 8, 30)), dense((2, 30, 12)), dense((2, 30, 12)))
    # 30 keys are packed as 32, 12 columns of values as 16.
    assert footprint(spec, AttentionTile(rows=6, high=2)) == 4 * (8 * 32 + 30 * 16 + 6 * 32)


def test_an_inverted_residual_comes_back_to_its_rows_and_weights() -> None:
    wide = Depthwise(dense((1, 14, 14, 32)), dense((1, 14, 14, 32)), (3, 3), pad=(1, 1))
    project = Conv2d(wide.out, dense((1, 14, 14, 16)))
    spec = Inverted(None, wide, project)
    tile = InvertedTile(2, 2, 4, None, ConvTile(2, 4, 2, 0, 1, "ohw"))
    assert footprint(spec, tile) == 4 * (2 * 14 * 32) + 4 * (9 * 32 + 32 * 16)


def test_what_is_gone_over_once_has_none() -> None:
    plain = Depthwise(dense((1, 14, 14, 32)), dense((1, 14, 14, 32)), (3, 3), pad=(1, 1))
    assert footprint(plain, PlaneTile(2, 4, 2, 2, "ohw")) == 0
    one = mapping(dense((8, 8)), NOTHING)
    assert footprint(one, rules.candidates(one, AVX2)[0]) == 0


def test_a_gpu_has_none() -> None:
    gpu = GPUS["sm_90"]
    assert rules.footprint(CONV, rules.candidates(CONV, gpu)[0], gpu) == 0
