"""Processes of the package have the modules of the one that starts them, wherever that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gacer_tune import processes


def test_a_package_of_the_same_name_in_the_working_directory_is_not_taken(tmp_path: Path) -> None:
    """As in a checkout whose version is not the one installed."""
    (tmp_path / "gacer_tune").mkdir()
    (tmp_path / "gacer_tune" / "__init__.py").write_text("raise SystemExit(3)")
    command = [*processes.program("gacer_tune.kernels.worker"), str(tmp_path)]
    assert subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, check=False).returncode == 0
    as_module = [sys.executable, "-m", "gacer_tune.kernels.worker", str(tmp_path)]
    assert subprocess.run(as_module, cwd=tmp_path, stdin=subprocess.DEVNULL, check=False).returncode == 3


def test_modules_get_their_arguments_as_from_python_m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "told.py").write_text("import sys; print(__name__, *sys.argv)")
    monkeypatch.syspath_prepend(tmp_path)
    command = [*processes.program("told"), "one", "-two"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__main__", str(tmp_path / "told.py"), "one", "-two"]
