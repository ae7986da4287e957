"""gacer-tune verify: what it checks, and what each finding means to a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gacer_tune.store.publish import publish
from tests.cli.support import Cli, FakeModule


@pytest.fixture
def republish(artifact: Path) -> Callable[..., None]:
    """Publish the artifact again with other schedules or manifest fields."""

    def change(edit: Callable[[dict[str, Any]], None], **fields: Any) -> None:
        manifest = json.loads((artifact / "manifest.json").read_text())
        names = manifest.pop("files")
        manifest.pop("format")
        document = json.loads((artifact / "schedule.json").read_text())
        edit(document)
        files: dict[str, bytes | Path] = {name: artifact / name for name in names}
        publish(artifact, {**files, "schedule.json": json.dumps(document).encode()}, {**manifest, **fields})

    return change


def test_a_good_artifact_passes(cli: Cli, artifact: Path, module: FakeModule) -> None:
    said = cli("verify", artifact)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "ok: 4 files match their hashes in manifest.json",
        "ok: 4 schedules are legal for the workload",
        "ok: compiled for x86-64, which this processor has; it loads",
        "ok: 3 joint runs have the bits of the sequential ones",
    ]
    assert module.ran == ["sequential", "best"] * 3


def test_other_bits_are_exit_code_3(cli: Cli, artifact: Path, module: FakeModule) -> None:
    module.skew = 1e-6
    said = cli("verify", artifact, "--json")
    assert said.code == 3
    assert said.last == {"ok": False, "note": "", "differing": ["det/y", "seg/y"]}
    assert "failed: not the bits of the sequential run: det/y, seg/y" in said.err


def test_a_changed_file_is_refused(cli: Cli, artifact: Path) -> None:
    (artifact / "module.so").write_bytes(b"\x7fELG")
    said = cli("verify", artifact)
    assert said.code == 2
    assert said.err.startswith(f"error: {artifact / 'module.so'}: its sha256 differs from the one in manifest.json")


def test_an_illegal_schedule_is_refused(cli: Cli, artifact: Path, republish: Callable[..., None]) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["schedules"]["best"]["lanes"] = 0

    republish(edit)
    said = cli("verify", artifact)
    assert (said.code, said.err) == (2, f"error: {artifact}: schedule 'best': lanes: 0, at least 1\n")


def test_another_machine_is_a_note(
    cli: Cli, artifact: Path, module: FakeModule, republish: Callable[..., None]
) -> None:
    republish(lambda _: None, fingerprint={"cpu": "Another CPU"})
    said = cli("verify", artifact, "--json")
    assert said.code == 0
    assert said.last["note"].startswith(
        "tuned on another machine, so another schedule may be faster here (cpu Another CPU,"
    )
    assert module.ran
