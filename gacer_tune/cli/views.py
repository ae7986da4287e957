"""gacer-tune report and gacer-tune trace: pages and traces of an artifact, made anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gacer_tune.cli.options import Folder, Json
from gacer_tune.cli.output import Output

REPORT, TRACE = "report.html", "trace.json"


def report(folder: Folder, as_json: Json = False) -> None:
    """Write report.html: what was gained, and how.

    One file for any browser: the gain, what each lane does when, how the search went, and on which machine.
    """
    from gacer_tune.artifact import TRIALS, read_artifact
    from gacer_tune.report.content import collect
    from gacer_tune.report.html import report_html
    from gacer_tune.report.trials import read_trials

    artifact = read_artifact(folder)
    page = report_html(collect(artifact, read_trials(folder / TRIALS)))
    _replace(folder, artifact.manifest, REPORT, page.encode("utf-8"))
    _tell(Output(as_json), folder / REPORT)


def trace(
    folder: Folder,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the random inputs.")] = 0,
    as_json: Json = False,
) -> None:
    """Run an artifact and write trace.json, a timeline of its lanes.

    It opens in ui.perfetto.dev and chrome://tracing.
    """
    from gacer_tune.cli.run import samples
    from gacer_tune.report.chrome_trace import chrome_trace
    from gacer_tune.report.track import recorded
    from gacer_tune.runtime import load
    from gacer_tune.store.canonical import canonical_json

    module = load(folder)
    inputs = samples(module, seed)
    for _ in range(2):  # the first run starts the threads
        module.run(inputs)
    track = recorded("best, recorded", module.workload, module.plan("best"), module.trace())
    content = canonical_json(chrome_trace(track)).encode("ascii")
    _replace(folder, module.artifact.manifest, TRACE, content)
    _tell(Output(as_json), folder / TRACE)


def _replace(folder: Path, manifest: Mapping[str, Any], name: str, content: bytes) -> None:
    """Publish the artifact again with this file in it, so that the manifest vouches for it as for all others."""
    from gacer_tune.store.publish import publish

    files: dict[str, bytes | Path] = {known: folder / known for known in manifest["files"]}
    fields = {key: value for key, value in manifest.items() if key not in ("files", "format")}
    publish(folder, {**files, name: content}, fields)


def _tell(output: Output, path: Path) -> None:
    output.say(f"written: {path}")
    output.result({"written": path})
