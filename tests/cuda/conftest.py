"""What tests of several files need."""

from __future__ import annotations

from pathlib import Path

import pytest

from gacer_tune.store.cache import Cache
from tests.cuda.real_driver import Opened, opener
from tests.gpu import bundle
from tests.gpu.bundle import Bundle


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Makes a session on the real driver's class, with a runtime and a module that are not there."""
    return opener(monkeypatch)


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One small mix, its library empty: a dry run loads none."""
    monkeypatch.setattr(bundle, "module_of", lambda *_: b"")
    made = Bundle("tiny_mlp+tiny_branchy", 1, "fp16", True)
    bundle.write(made, tmp_path / "bundle" / made.name, Cache(tmp_path / "cache"), 2)
    return tmp_path / "bundle"
