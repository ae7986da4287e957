"""docs/cuda.md: its commands exist, its table of precisions says what is checked."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from gacer_tune.checking import TOLERANCES
from gacer_tune.settings import PRECISIONS
from gacer_tune.targets import MOST_STREAMS
from tests.support.commands import parsed

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "cuda.md").read_text()
README = (ROOT / "README.md").read_text()


def test_commands_parse_and_modules_exist() -> None:
    section = README.partition("## On an NVIDIA GPU\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\$ (gacer-tune .+)$", TEXT + section, re.MULTILINE)
    assert [parsed(line)[0] for line in lines] == ["tune"] * 4
    modules = re.findall(r"^\$ python -m (\S+)", TEXT, re.MULTILINE)
    assert modules == ["tests.gpu.compile_all", "tests.gpu.bundle"]
    assert all(find_spec(name) for name in modules)
    assert (ROOT / "tests" / "gpu" / "run_all.sh").exists() and "sh tests/gpu/run_all.sh" in TEXT
    assert (ROOT / "docs" / "player.cpp").exists() and "(player.cpp)" in TEXT


def test_the_readme_shows_both_languages() -> None:
    """`test_listing` compiles and runs the C++ program, `test_module` does with it what the Python lines do."""
    program = re.findall(r"```console\n(\$ FFI=.*?)```", TEXT, re.DOTALL)
    assert len(program) == 1 and program[0] in README
    assert 'load("out")' in README.partition("## On an NVIDIA GPU\n")[2].partition("\n## ")[0]


def test_the_bounds_are_those_that_are_checked() -> None:
    rows = re.findall(r"^\| `(\w+)`( \(unless given\))? .* \| ([\d.]+) %", TEXT, re.MULTILINE)
    assert {name: float(percent) / 100 for name, _, percent in rows} == {
        name: TOLERANCES[name] for name in PRECISIONS["cuda"]
    }
    assert [name for name, default, _ in rows if default] == [*PRECISIONS["cuda"][:1]]
    assert MOST_STREAMS == 8 and "at most eight unless given" in TEXT
