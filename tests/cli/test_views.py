"""gacer-tune report and trace: files made anew, for which the manifest vouches."""

from __future__ import annotations

import json
from pathlib import Path

from gacer_tune.artifact import read_artifact
from tests.cli.support import Cli, FakeModule


def test_a_report_becomes_part_of_the_artifact(cli: Cli, artifact: Path) -> None:
    said = cli("report", artifact, "--json")
    assert said.code == 0
    assert said.last == {"written": str(artifact / "report.html")}
    page = (artifact / "report.html").read_text()
    assert "1.20x faster than the best baseline (lane per tenant), p = 0.001" in page
    assert "no answer within 10 s" in page
    before = read_artifact(artifact).manifest
    assert set(before["files"]) == {"module.so", "weights.safetensors", "schedule.json", "trials.jsonl", "report.html"}
    assert cli("report", artifact).code == 0
    assert read_artifact(artifact).manifest == before


def test_a_trace_is_of_a_run(cli: Cli, artifact: Path, module: FakeModule) -> None:
    said = cli("trace", artifact)
    assert (said.code, said.out) == (0, f"written: {artifact / 'trace.json'}\n")
    assert module.ran == ["best", "best"]
    events = json.loads((artifact / "trace.json").read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert {event["cat"] for event in slices} == {"det", "seg"}
    assert {event["tid"] for event in slices} == {0, 1}
    assert all("hi" in event["args"] for event in slices)
    assert "trace.json" in read_artifact(artifact).manifest["files"]


def test_an_artifact_without_figures_is_refused(cli: Cli, artifact: Path) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    del manifest["figures"]
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    said = cli("report", artifact)
    assert (said.code, said.err) == (2, "error: manifest.json: no figures of a tuning run: 'figures' is missing\n")
