"""What luck costs a model that knows everything else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.learning.ceiling import by_halves, drawn_anew

TIMES = np.linspace(1.0, 1.2, 60)


def test_without_noise_the_one_who_knows_finds_the_fastest() -> None:
    assert drawn_anew(TIMES, np.zeros(60), draws=3) == 1.0
    assert by_halves([(seconds,) * 6 for seconds in TIMES], draws=3) == 1.0


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_noise_costs_the_more_the_larger_it_is(noise: float) -> None:
    """Sixty plans of one speed: the fastest is the luckiest, and no knowledge helps."""
    alike = drawn_anew(np.ones(60), np.full(60, noise), draws=100)
    luck = 1.16 * noise  # the expected lead of the luckiest of 60 over that of 5, in standard deviations
    assert 1 - alike == pytest.approx(luck, rel=0.25)
    rng = np.random.default_rng(1)
    runs = rng.lognormal(0.0, noise * 2, (60, 4))
    assert by_halves(list(runs), draws=50) < 1 - luck / 2


def test_plans_that_lie_apart_are_told_apart_in_spite_of_noise() -> None:
    assert drawn_anew(np.linspace(1.0, 4.0, 60), np.full(60, 0.002), draws=20) > 0.999
