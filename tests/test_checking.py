"""When results agree: what is finite by the error, what is not exactly."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from gacer_tune.checking import relative_error


@pytest.mark.parametrize(
    ("ours", "expected", "error"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -3.0], [2.0, -4.0], 0.25),
        ([0.5], [0.0], 0.5),
        ([], [], 0.0),
        (2.0, 4.0, 0.5),
        ([-inf, 3.0], [-inf, 4.0], 0.25),
        ([inf, nan], [inf, nan], 0.0),
        ([inf, 1.0], [-inf, 1.0], inf),
        ([nan, 1.0], [inf, 1.0], inf),
        ([nan, 1.0], [0.0, 1.0], inf),
        ([1.0, 1.0], [1.0, inf], inf),
        ([1.0], [1.0, 1.0], inf),
        ([[1.0]], [1.0], inf),
        ([True, False], [True, True], 1.0),
    ],
)
@pytest.mark.filterwarnings("error")
def test_error_by_hand(ours: Any, expected: Any, error: float) -> None:
    assert relative_error(ours, expected) == error
