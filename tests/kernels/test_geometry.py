"""What rules compute before anything is emitted: views, windows, pieces, positions."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.blocks import block_size
from gacer_tune.kernels.emit.blocks import pieces, scattered
from gacer_tune.kernels.resize import Position, Rounding
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.views import merged, merged_outer, part_of
from gacer_tune.kernels.window import Window
from tests.support.kernels import views, windows


def offsets(tensor: Tensor) -> list[int]:
    """Offsets of the elements in row-major order of the indices."""
    return [int(np.dot(index, tensor.strides)) for index in np.ndindex(*tensor.shape)]


@st.composite
def alike(draw: st.DrawFn) -> list[Tensor]:
    """Views of one shape; some have broadcast axes."""
    shape = tuple(draw(st.lists(st.sampled_from((1, 2, 3, 4)), max_size=4)))
    found = [draw(views(shape)) for _ in range(draw(st.integers(1, 3)))]
    found.append(Tensor(shape, tuple(stride if draw(st.booleans()) else 0 for stride in found[0].strides)))
    return found


@given(alike())
def test_merged_views_walk_the_same_elements(tensors: list[Tensor]) -> None:
    found = merged(tensors)
    assert [offsets(tensor) for tensor in found] == [offsets(tensor) for tensor in tensors]
    assert len({tensor.shape for tensor in found}) == 1
    assert all(extent > 1 for extent in found[0].shape)
    assert merged(found) == found


@given(alike())
def test_merged_outer_keeps_the_last_axis(tensors: list[Tensor]) -> None:
    tensors = [Tensor((*t.shape, 3), (*t.strides, 100), t.dtype) for t in tensors]
    found = merged_outer(tensors, 1)
    assert [offsets(tensor) for tensor in found] == [offsets(tensor) for tensor in tensors]
    assert all((tensor.shape[-1], tensor.strides[-1]) == (3, 100) for tensor in found)


def test_dense_views_become_one_axis() -> None:
    assert merged([dense((8, 1, 4, 5)), dense((8, 1, 4, 5))]) == [dense((160,)), dense((160,))]
    assert merged([dense((4, 5)), Tensor((4, 5), (0, 1))]) == [dense((4, 5)), Tensor((4, 5), (0, 1))]
    assert merged([dense((1, 1))])[0].shape == ()
    assert part_of(dense((2, 3, 4)), (2, 0)) == Tensor((4, 2), (1, 12))


@given(st.integers(0, 200), st.integers(0, 50), st.sampled_from((4, 8, 16)))
def test_pieces_cover_a_range_once(start: int, count: int, vector: int) -> None:
    found = pieces(start, start + count, vector)
    assert [i for first, width in found for i in range(first, first + width)] == list(range(start, start + count))
    assert all(width <= vector and vector % width == 0 for _, width in found)
    assert all(width == vector for _, width in found[: count // vector])


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 9))
def test_blocks_give_the_items_that_are_wanted(total: int, wanted: int, times: int) -> None:
    size = block_size(total, wanted, times)
    items = times * -(-total // size)
    assert 1 <= size <= total
    assert items >= min(wanted, times * total)
    assert items <= max(3 * wanted, times)


def test_lanes_share_blocks_evenly() -> None:
    assert block_size(33, 16) == 1  # 17 + 16; blocks of 2 would make 18 + 15, blocks of 3 too
    assert block_size(64, 16) == 4
    assert block_size(14, 2, 3) < 14  # 3 items, one lane would have two of them


@given(windows(), st.integers(1, 6))
def test_columns_are_cut_and_clipped(window: Window, count: int) -> None:
    runs = window.columns(count)
    starts = [(run.start + tile * run.count, run) for run in runs for tile in range(run.tiles)]
    assert [i for start, run in starts for i in range(start, start + run.count)] == list(range(window.out[1]))
    for start, run in starts:
        assert run.tiles == 1 or not run.clipped
        whole = all(len(window.inside(start, run.count, tap)) == run.count for tap in range(window.size[1]))
        assert whole is not run.clipped
        for tap in range(window.size[1]):
            at = [(start + i) * window.stride[1] + tap * window.dilation[1] - window.pad[1] for i in range(run.count)]
            assert window.inside(start, run.count, tap) == [i for i, x in enumerate(at) if 0 <= x < window.image[1]]


@given(st.integers(0, 40), st.integers(0, 9), st.integers(-9, 9), st.integers(1, 9))
def test_positions_round_halves_as_their_mode_says(index: int, factor: int, offset: int, divisor: int) -> None:
    place = Position(factor, offset, divisor, 100)
    at, half = Fraction(factor * index + offset, divisor), Fraction(1, 2)
    expected: dict[Rounding, int] = {
        "floor": at.__floor__(),
        "ceil": at.__ceil__(),
        "round_prefer_floor": (at - half).__ceil__(),
        "round_prefer_ceil": (at + half).__floor__(),
    }
    for rounding, value in expected.items():
        rounded = place.rounded(rounding)
        assert rounded.numerator(index) // rounded.divisor == value


@given(count=st.integers(1, 600), most=st.integers(1, 8))
def test_what_is_asked_for_in_streams_is_asked_for_once(count: int, most: int) -> None:
    order = [scattered(step, count, most) for step in range(count)]
    assert sorted(order) == list(range(count))


def test_streams_advance_in_turns() -> None:
    assert [scattered(step, 12, 4) for step in range(6)] == [0, 3, 6, 9, 1, 4]
    assert [scattered(step, 9, 4) for step in range(4)] == [0, 3, 6, 1], "three, as four are not equally long"
    assert [scattered(step, 7, 4) for step in range(3)] == [0, 1, 2]
