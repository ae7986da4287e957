"""What is compiled belongs to the code that shapes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gacer_tune.kernels import rules
from gacer_tune.kernels.rules import code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    kernels = ("build.py", "worker.py", "conv2d.py", "emit/build.py")
    for name in (*(f"kernels/{name}" for name in kernels), "a/b.cuh", "a/c.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_what_hands_functions_to_the_compiler_does_not_count(root: Path) -> None:
    found = [path.relative_to(root).as_posix() for path in code(root, ("kernels", "kernels/emit", "a"))]
    assert found == ["a/b.cuh", "kernels/conv2d.py", "kernels/emit/build.py"]


def test_what_is_left_out_is_there() -> None:
    package = Path(rules.__file__).parent.parent
    assert all((package / name).is_file() for name in rules.MACHINERY)
