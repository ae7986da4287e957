"""Sizes on throughput curves whose best point is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.search.sizes import WORTH, Probe, Size, Sized, Sizes, climb, sizes_text

Rate = Callable[[int, int], float]  # inputs a second by batch and instances; 0 where they may not be


def asked_of(rate: Rate, least: Size, most: Size) -> tuple[Size, list[Sizes]]:
    """What is chosen for one model, and all that was asked."""
    asked: list[Sizes] = []

    def gain(now: Sizes, other: Sizes) -> float:
        asked.append(other)
        return rate(other[0].batch, other[0].instances) / rate(now[0].batch, now[0].instances)

    (found,) = climb((least,), (most,), gain)
    return found, asked


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (lambda batch, instances: min(batch, 16) * (1 - 0.2 * (instances > 1)), Size(16, 1)),
        (lambda batch, instances: min(instances, 4) / batch**0.1, Size(1, 4)),
        (lambda batch, instances: min(batch, 4) * min(instances, 2), Size(4, 2)),
        (lambda _batch, _instances: 1.0, Size(1, 1)),
    ],
    ids=["batching", "instances", "both", "neither"],
)
def test_curves_with_known_answers(rate: Rate, expected: Size) -> None:
    found, asked = asked_of(rate, Size(1, 1), Size(64, 8))
    assert found == expected
    assert len(asked) == len(set(asked)) <= 12


@given(limit=st.integers(1, 200), most=st.integers(1, 128))
def test_an_slo_is_approached_by_halving_and_never_broken(limit: int, most: int) -> None:
    """Batches above the limit may not be. What is chosen is so near the largest one that may that the middle between it
    and what may not is not WORTH it."""
    found, asked = asked_of(lambda batch, _: float(batch) if batch <= limit else 0.0, Size(1, 1), Size(most, 1))
    best = min(limit, most)
    assert found.batch <= best
    assert found.batch * (2 * WORTH - 1) > best - 1
    assert len(asked) <= 2 * math.ceil(math.log2(most)) + 2


@given(
    table=st.lists(st.floats(0.5, 4.0), min_size=16, max_size=16),
    least=st.sampled_from([Size(1, 1), Size(2, 1), Size(1, 2)]),
)
def test_no_neighbour_of_what_is_chosen_is_worth_it(table: list[float], least: Size) -> None:
    """Whatever the curve: each knob twice as large does not do WORTH the work, and the least sizes no more."""

    def rate(batch: int, instances: int) -> float:
        return table[4 * (batch.bit_length() - 1) + instances.bit_length() - 1]

    found, _ = asked_of(rate, least, Size(8, 8))
    chosen = rate(found.batch, found.instances)
    assert chosen >= rate(least.batch, least.instances)
    doubled = [(2 * found.batch, found.instances), (found.batch, 2 * found.instances)]
    assert all(rate(b, i) < WORTH * chosen for b, i in doubled if b <= 8 and i <= 8)


def test_models_are_sized_together() -> None:
    """The second one gains from a batch of 2 only beside a first one that has it, too."""

    def rate(sizes: Sizes) -> float:
        det, seg = (size.batch for size in sizes)
        return 1.0 + 0.2 * (det == 2) + 0.5 * (det == seg == 2)

    def gain(now: Sizes, other: Sizes) -> float:
        return rate(other) / rate(now)

    assert climb((Size(1, 1),) * 2, (Size(2, 1),) * 2, gain) == (Size(2, 1), Size(2, 1))


def test_nothing_is_asked_when_the_time_is_over() -> None:
    left = iter([False, False, True, True, True, True])
    asked: list[Sizes] = []

    def gain(_: Sizes, other: Sizes) -> float:
        asked.append(other)
        return 2.0

    assert climb((Size(1, 1),), (Size(64, 1),), gain, lambda: next(left)) == (Size(4, 1),)
    assert len(asked) == 2


def test_what_was_found_in_words_and_in_json() -> None:
    least, more = (Size(1, 1), Size(2, 1)), (Size(4, 1), Size(2, 3))
    probes = (Probe(least, 1.0, "sequential", 0.5), Probe(more, 1.5, "breadth_first", 0.25, ""))
    found = Sized(("det", "seg"), least, more, probes, more)
    assert sizes_text(found.names, found.chosen) == "det 4, seg 2 x 3"
    assert found.gain == 1.5
    assert Sized.from_json(asdict(found)) == found
