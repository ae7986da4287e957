"""What tests of several files need."""

from __future__ import annotations

import pytest

from tests.cuda.real_driver import Opened, opener


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Makes a session on the real driver's class, with a runtime and a module that are not there."""
    return opener(monkeypatch)
