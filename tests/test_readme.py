"""What the README promises is there: its two commands, its options, its files, its code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gacer_tune import artifact
from gacer_tune.cli.given import read_settings
from tests.support.commands import parsed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_two_commands_are_targets_that_help_lists() -> None:
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\$ make (\w+)", README, re.MULTILINE)
    assert targets == ["tune", "test"]
    for target in targets:
        assert re.search(rf"^{target}\s+\S", help_text, re.MULTILINE)


def test_make_test_runs_the_tests_and_ci_runs_make_test() -> None:
    plan = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m pytest" in plan
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_make_tune_builds_two_models_and_tunes_them() -> None:
    plan = subprocess.run(["make", "-n", "tune"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tune = next(line for line in plan.splitlines() if "gacer-tune tune" in line)
    assert len(re.findall(r"\S+\.onnx", tune)) == 2
    assert re.search(r"gacer-tune bench out --against onnxruntime$", plan, re.MULTILINE)


def test_commands_exist() -> None:
    for name in ("tune", "inspect", "run", "verify", "report", "trace", "check", "cache"):
        assert f"`{name}`" in README or f"gacer-tune {name}" in README
        done = subprocess.run(
            [sys.executable, "-m", "gacer_tune", name, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0


@pytest.mark.parametrize(
    "name", [artifact.MODULE, artifact.WEIGHTS, artifact.SCHEDULE, artifact.REPORT, artifact.TRACE, artifact.TRIALS]
)
def test_files_are_named(name: str) -> None:
    assert f"`{name}`" in README


def test_the_workload_file_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    for model in yaml.safe_load(text)["tenants"]:
        name = model if isinstance(model, str) else model["path"]
        (tmp_path / name).write_bytes(b"a model")
    path = tmp_path / "workload.yaml"
    path.write_text(text)
    settings = read_settings([], config=path)
    assert [tenant.name for tenant in settings.tenants] == ["detect", "classify"]
    assert settings.tenants[1].batch == 4 and settings.budget_s == 120


def test_the_commands_of_the_ci_section_parse() -> None:
    section = README.partition("## In CI\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\$ (gacer-tune .+)$", section, re.MULTILINE)
    assert [parsed(line)[0] for line in lines] == ["check", "check", "cache export", "cache import"]
    assert (ROOT / "docs" / "ci.md").is_file() and "(docs/ci.md)" in section


def test_the_python_example_compiles_and_names_what_exists() -> None:
    (code,) = blocks("python")
    compile(code, "README.md", "exec")
    from gacer_tune.runtime import Module

    for name in re.findall(r"module\.(\w+)\(", code):
        assert callable(getattr(Module, name))


def test_the_figures_are_those_of_the_benchmark_pages() -> None:
    rows = re.findall(r"^\| (.+), (\S+) \| (\S+) \((\S+)\) \| (\S+) \((\S+)\) \| \[.+\]\((.+)\) \|$", README, re.M)
    assert [row[1] for row in rows] == ["AVX2", "AVX-512", "AMX"]
    for cpu, isa, together, least, alone, least_alone, path in rows:
        page = (ROOT / path).read_text()
        means = re.findall(r"^Against the best peer of each entry: geometric mean (\S+), minimum (\S+) ", page, re.M)
        assert means[:2] == [(alone, least_alone), (together, least)], path
        machine = re.findall(r"^- machine: (.+), 2 of 2 cores$", page, re.M)[0].replace("(R)", "")
        assert machine.startswith(cpu) and machine.endswith(f", {isa.lower().replace('-', '')}")


def test_the_figures_of_bfloat16_are_those_of_its_page() -> None:
    ((mean, least, path),) = re.findall(r"the ten mixes run (\S+) \((\S+)\) times as fast[^(]+\(\[(.+?)\]", README)
    together = (ROOT / path).read_text().partition("## Together")[2].partition("\n## ")[0]
    assert f"geometric mean {mean}, minimum {least} (" in together and together.count("| **") == 10
