"""A short soak: the long one is `python -m tests.soak --minutes 10`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.__main__ import soak


@pytest.mark.slow
def test_nothing_is_lost_whatever_goes_wrong(tmp_path: Path) -> None:
    found = soak(tmp_path, 20.0, seed=1)
    assert found.lives["killed"] + found.lives["disk full"] >= 2
    assert found.failures, "candidates failed and the search went on"
    assert found.lost == 0
    assert found.twice == 0
    assert found.damaged <= found.torn
