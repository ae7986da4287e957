"""gacer-tune check: what it compares, what it writes, and what each finding means to a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gacer_tune.checking import Difference
from gacer_tune.cli.check import SUMMARY, parse_threshold
from gacer_tune.errors import UserError
from gacer_tune.regression import measuring
from gacer_tune.regression.measuring import Measured
from gacer_tune.store.publish import publish
from tests.cli.support import Cli
from tests.regression.support import pairs
from tests.regression.test_pages import valid

Edit = Callable[[dict[str, Any], dict[str, Any]], None]
SAME = (Difference("det", "y", 0.0), Difference("seg", "y", 0.0))


@pytest.fixture
def other(artifact: Path, tmp_path: Path) -> Callable[[Edit], Path]:
    """A copy of the artifact with other content of schedule.json or of the manifest."""

    def make(edit: Edit) -> Path:
        manifest = json.loads((artifact / "manifest.json").read_text())
        names = manifest.pop("files")
        manifest.pop("format")
        document = json.loads((artifact / "schedule.json").read_text())
        edit(document, manifest)
        files: dict[str, bytes | Path] = {name: artifact / name for name in names}
        publish(tmp_path / "other", {**files, "schedule.json": json.dumps(document).encode()}, manifest)
        return tmp_path / "other"

    return make


@pytest.fixture
def same(other: Callable[[Edit], Path]) -> Path:
    return other(lambda *_: None)


def depth_first(document: dict[str, Any], _: dict[str, Any]) -> None:
    document["schedules"]["best"]["clusters"][0]["breadth"] = False


def eight_cores(_: dict[str, Any], manifest: dict[str, Any]) -> None:
    manifest["fingerprint"]["cores"] = 4096


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Measured pairs instead of measuring; what was asked for is recorded."""

    def put(ratio: float = 1.0, outputs: tuple[Difference, ...] = SAME) -> list[Any]:
        asked: list[Any] = []

        def measure(*arguments: Any) -> Measured:
            asked.append(arguments)
            return Measured(pairs(ratio), outputs, 0.0)

        monkeypatch.setattr(measuring, "measure", measure)
        return asked

    return put


def test_equal_artifacts_pass(cli: Cli, artifact: Path, same: Path, timed: Callable[..., list[Any]]) -> None:
    asked = timed()
    said = cli("check", artifact, same, "--pairs", "7", "--seed", "3")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1].startswith("no regression: as fast as the baseline within the band (")
    assert said.out.splitlines()[-1].endswith("; the same decisions")
    assert asked[0][:4] == (artifact, same, 7, 3)
    rows = [line for line in said.out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["det", "seg", "together"]


def test_a_slower_one_is_exit_code_3(cli: Cli, artifact: Path, same: Path, timed: Callable[..., list[Any]]) -> None:
    timed(1.5)
    said = cli("check", artifact, same, "--json")
    assert said.code == 3
    assert (said.last["regression"], said.last["decisions_changed"]) == (True, False)
    assert [row["verdict"] for row in said.last["times"]] == ["slower"] * 3
    assert "regression: 50." in said.err.splitlines()[-1]
    assert cli("check", artifact, same, "--threshold", "60%").code == 0


def test_changed_decisions_alone_are_told(
    cli: Cli, artifact: Path, other: Callable[[Edit], Path], timed: Callable[..., list[Any]]
) -> None:
    timed()
    changed = other(depth_first)
    said = cli("check", artifact, changed)
    assert said.code == 0
    assert "decisions changed: 1 difference\n  issue depth-first (was breadth-first)\n" in said.out
    assert said.out.splitlines()[-1].endswith("; 1 decision changed")
    strict = cli("check", artifact, changed, "--strict-decisions")
    assert strict.code == 3
    assert strict.out.splitlines()[-1] == "regression: 1 decision changed, none may"


def test_another_result_is_exit_code_3(cli: Cli, artifact: Path, same: Path, timed: Callable[..., list[Any]]) -> None:
    timed(outputs=(Difference("det", "y", 0.01), SAME[1]))
    said = cli("check", artifact, same)
    assert said.code == 3
    assert "output differs: det/y, by 0.01 of its largest value" in said.out
    timed(outputs=(Difference("det", "y", 1e-5), SAME[1]))
    assert cli("check", artifact, same).code == 0


def test_decisions_only_runs_nothing_and_needs_no_machine(
    cli: Cli, artifact: Path, other: Callable[[Edit], Path], timed: Callable[..., list[Any]]
) -> None:
    asked = timed(2.0)

    def elsewhere(document: dict[str, Any], manifest: dict[str, Any]) -> None:
        depth_first(document, manifest)
        manifest |= {"isa": "something-newer", "fingerprint": {"machine": "riscv64"}}

    said = cli("check", artifact, other(elsewhere), "--decisions-only", "--json")
    assert (said.code, asked) == (0, [])
    assert {change["area"] for change in said.last["changes"]} == {"schedule", "device", "toolchain"}
    assert (said.last["times"], said.last["outputs"], said.last["pairs"]) == ([], [], 0)
    assert cli("check", artifact, artifact.parent / "other", "--decisions-only", "--strict-decisions").code == 3


def test_what_cannot_be_compared_in_time_is_said(
    cli: Cli, artifact: Path, other: Callable[[Edit], Path], timed: Callable[..., list[Any]], tmp_path: Path
) -> None:
    asked = timed(2.0)
    elsewhere = other(eight_cores)
    said = cli("check", artifact, elsewhere)
    assert (said.code, asked) == (0, [])
    assert "times and outputs were not compared: the new artifact was tuned for another machine: cores 4096" in said.out
    assert said.out.splitlines()[-1] == "no regression: times were not compared; the same decisions"
    for option in (("--require-times",), ("--benchmark-json", tmp_path / "times.json")):
        refused = cli("check", artifact, elsewhere, *option)
        assert refused.code == 2
        assert refused.err.startswith("error: times cannot be compared: the new artifact was tuned for another machine")
    assert not (tmp_path / "times.json").exists()


def test_other_models_are_compared_by_decisions(
    cli: Cli, artifact: Path, other: Callable[[Edit], Path], timed: Callable[..., list[Any]]
) -> None:
    asked = timed(2.0)

    def retrained(document: dict[str, Any], _: dict[str, Any]) -> None:
        document["workload"]["tenants"][0]["model"] = "retrained"

    said = cli("check", artifact, other(retrained))
    assert (said.code, asked) == (0, [])
    assert "det: another model: retrained (was digest-det)" in said.out


def test_reports_are_written(
    cli: Cli, artifact: Path, same: Path, timed: Callable[..., list[Any]], tmp_path: Path
) -> None:
    timed(1.5)
    markdown, report, times = tmp_path / "summary.md", tmp_path / "check.xml", tmp_path / "times.json"
    said = cli("check", artifact, same, "--markdown", markdown, "--junit", report, "--benchmark-json", times)
    assert said.code == 3, "a regression is reported, too"
    assert markdown.read_text().startswith("### gacer-tune: regression: 50.")
    assert [case.get("name") for case in valid(report.read_bytes()).iter("testcase")][-1] == "together"
    assert [entry["name"] for entry in json.loads(times.read_text())] == ["det", "seg", "together"]
    assert [line for line in said.out.splitlines() if line.startswith("written: ")] == [
        f"written: {path}" for path in (report, times, markdown)
    ]


def test_markdown_on_standard_output_stands_alone(
    cli: Cli, artifact: Path, same: Path, timed: Callable[..., list[Any]]
) -> None:
    timed()
    said = cli("check", artifact, same, "--markdown", "-")
    assert said.code == 0
    assert said.out.startswith("### gacer-tune: no regression: ")
    assert "until done" in said.err


def test_the_summary_of_a_job_is_appended_to(
    cli: Cli, artifact: Path, same: Path, timed: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed()
    page = artifact.parent / "summary.md"
    page.write_text("# Earlier step\n")
    monkeypatch.setenv(SUMMARY, str(page))
    assert cli("check", artifact, same, "--github-summary").code == 0
    assert page.read_text().startswith("# Earlier step\n### gacer-tune: no regression: ")
    monkeypatch.delenv(SUMMARY)
    said = cli("check", artifact, same, "--github-summary")
    assert (said.code, said.err) == (
        2,
        f"error: --github-summary: {SUMMARY} is not set; outside GitHub Actions use --markdown FILE\n",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--decisions-only", "--require-times"), "--decisions-only and --require-times: the one measures no times"),
        (("--decisions-only", "--benchmark-json", "t.json"), "--decisions-only and --benchmark-json: the one measures"),
        (("--pairs", "4"), "--pairs 4: at least 5, fewer prove nothing"),
        (("--threshold", "5"), "--threshold: '5' was given, allowed: a percentage as in 5%, or a share as in 0.05"),
        (("--markdown", "-", "--json"), "--markdown - and --json: both want standard output"),
        (("--junit", "none/check.xml"), "none/check.xml: cannot be written: "),
        (("--markdown", "."), ".: cannot be written: it is a folder"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_runs(
    cli: Cli, artifact: Path, same: Path, timed: Callable[..., list[Any]], options: tuple[str, ...], message: str
) -> None:
    asked = timed()
    said = cli("check", artifact, same, *options)
    assert (said.code, asked) == (2, [])
    assert said.err.startswith(f"error: {message}")


def test_a_missing_baseline_is_the_users_error(cli: Cli, artifact: Path) -> None:
    said = cli("check", artifact.parent / "none", artifact)
    assert (said.code, said.err) == (2, f"error: {artifact.parent / 'none'}: no such folder\n")


def test_names_command_no_terminal(cli: Cli, artifact: Path, other: Callable[[Edit], Path]) -> None:
    def renamed(document: dict[str, Any], _: dict[str, Any]) -> None:
        document["workload"]["tenants"][0]["name"] = "\x1b[2Jdet"

    said = cli("check", artifact, other(renamed), "--decisions-only")
    assert said.code == 0
    assert "\x1b" not in said.out + said.err
    assert "workload: 1 difference\n  tenants ?[2Jdet, seg (was det, seg)" in said.out


def test_thresholds() -> None:
    assert [parse_threshold(text) for text in ("5%", "2.5 %", "0.1", ".02", "0%")] == [0.05, 0.025, 0.1, 0.02, 0.0]
    for text in ("", "5", "-1%", "1e-2", "nan", "five%"):
        with pytest.raises(UserError, match="--threshold: "):
            parse_threshold(text)
