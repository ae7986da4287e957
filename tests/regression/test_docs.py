"""docs/ci.md: its workflow is YAML that GitHub reads as meant, and every command in it is one of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gacer_tune.cli.check import Options as CheckOptions
from gacer_tune.cli.tune import Options as TuneOptions
from gacer_tune.regression.times import THRESHOLD
from tests.support.commands import parsed

PAGE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()
(WORKFLOW,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(WORKFLOW)["jobs"]["tune"]["steps"]
    return found


def commands() -> list[str]:
    """All commands of ours: in the steps of the workflow, and after a prompt."""
    scripts = [line for step in steps() for line in step.get("run", "").splitlines()]
    prompts = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
    return [line.strip() for line in (*scripts, *prompts) if line.strip().startswith("gacer-tune ")]


def test_the_workflow_has_what_github_needs() -> None:
    document = yaml.safe_load(WORKFLOW)
    assert set(document) == {"name", True, "permissions", "concurrency", "jobs"}, "YAML 1.1 reads `on` as true"
    assert set(document[True]) == {"push", "pull_request"}
    assert "self-hosted" in document["jobs"]["tune"]["runs-on"]
    for step in steps():
        assert ("run" in step) != ("uses" in step)
        assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


def test_a_regression_still_uploads_its_report() -> None:
    names = [step.get("name", "") for step in steps()]
    (check,) = (step["run"] for step in steps() if step.get("name") == "Check")
    upload = steps()[names.index("Upload the test report")]
    assert upload["if"].startswith("always()")
    _, options = parsed(check)
    assert {str(options["junit"]), str(options["benchmark_json"])} == set(upload["with"]["path"].split())
    assert (str(options["baseline"]), str(options["folder"])) == ("baseline", "out")
    assert options["require_times"] and options["github_summary"]


def test_the_artifact_that_is_checked_is_the_one_that_is_tuned_and_kept() -> None:
    found = {path: options for path, options in map(parsed, commands())}
    assert str(found["tune"]["out"]) == "out"
    kept = next(step for step in steps() if step.get("name") == "Upload the artifact")
    fetch = next(step for step in steps() if step.get("name") == "Fetch the artifact of main")
    assert kept["with"]["path"] == "out"
    assert f"--name {kept['with']['name']} --dir baseline" in fetch["run"]


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line: str) -> None:
    path, _ = parsed(line)
    assert path in ("tune", "check", "cache gc", "cache export", "cache import")


def test_a_wrong_command_would_be_found() -> None:
    for line in ("gacer-tune check a", "gacer-tune check a b --no-such", "gacer-tune cache exprt x"):
        with pytest.raises(Exception, match=r"(?i)missing|no such"):
            parsed(line)


def test_all_options_of_the_command_that_are_named_exist() -> None:
    named = {name.replace("-", "_") for name in re.findall(r"`--([a-z-]+)", PAGE)}
    fields = {*CheckOptions.__dataclass_fields__, *TuneOptions.__dataclass_fields__}
    assert named <= fields
    assert {"markdown", "junit", "benchmark_json", "github_summary"} <= named


def test_the_numbers_are_those_of_the_code() -> None:
    from gacer_tune.checking import TOLERANCE
    from gacer_tune.search.acceptance import SIGNIFICANCE

    assert f"({THRESHOLD:.0%} unless given)".replace("%", " %") in PAGE
    assert f"p < {SIGNIFICANCE}" in PAGE
    assert f"more than {TOLERANCE:.1%} of their largest value".replace("%", " %") in PAGE
