"""The walls of the house: who may import whom, and what the wheel holds."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LONGEST

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parent.parent
PLACES = {"gacer_tune": "gacer_tune", "gacer_tune.ir": "ir", "gacer_tune.cost_model": "cost_model"}
# The only modules that may import the compiler; all others must work where only its runtime is.
TVM = (
    "gacer_tune.kernels.emit.",
    "gacer_tune.kernels.cuda.emit.",
    "gacer_tune.executor.emit.",
    "gacer_tune.executor.cuda.host",
    "gacer_tune.bench.relax_build",
    "gacer_tune.metaschedule.proposals",
)


def modules() -> Iterator[tuple[str, Path]]:
    """(dotted name as installed, file) of every module."""
    for package, folder in PLACES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def imports(path: Path) -> set[str]:
    """Absolute names that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def outside(names: set[str], allowed: tuple[str, ...]) -> set[str]:
    """Names that belong neither to the standard library nor to `allowed`."""
    return {
        name
        for name in names
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not any(name == one or name.startswith(one + ".") for one in allowed)
    }


def test_there_are_modules_to_check() -> None:
    assert len(dict(modules())) > 50


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_imports_point_down(name: str, path: Path) -> None:
    if name.startswith("gacer_tune.ir"):
        assert not outside(imports(path), ("gacer_tune.ir",))
    elif name.startswith("gacer_tune.cost_model"):
        assert not outside(imports(path), ("gacer_tune.ir", "gacer_tune.cost_model", "numpy", "xgboost"))
    if not name.startswith(TVM):
        assert not {one for one in imports(path) if one.partition(".")[0] == "tvm"}


def test_the_package_itself_imports_nothing() -> None:
    assert imports(ROOT / "gacer_tune" / "__init__.py") == {"pathlib"}


def test_a_checkout_has_all_its_modules_where_it_is_not_installed() -> None:
    """As for whoever has installed a wheel and starts Python in the checkout, which then comes first."""
    command = [sys.executable, "-S", "-c", "import gacer_tune.ir.workload as found; print(found.__file__)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == ROOT / "ir" / "workload.py"


def test_processes_are_started_in_one_way() -> None:
    """`python -m` would look for their modules in the working directory first."""
    assert not [str(path) for _, path in modules() if '"-m"' in path.read_text()]


def test_every_package_is_declared() -> None:
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    assert declared == {name for name, path in modules() if path.name == "__init__.py"}


def test_files_that_come_first_exist() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []


def test_the_wheel_holds_every_module(tmp_path: Path) -> None:
    """Built from a copy: what an earlier build left in the checkout would be packed too."""
    source = tmp_path / "source"
    for folder in PLACES.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    wanted = {
        name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py") for name, path in modules()
    }
    assert held == wanted
