"""A temporary folder lives as long as its owner, and is removed by the next process when the owner was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gacer_tune import temporary
from gacer_tune.temporary import PREFIX, sweep, temporary_folder

ROOT = Path(__file__).parent.parent
OWNER = """
import sys, time
from gacer_tune.temporary import temporary_folder

with temporary_folder() as folder:
    (folder / "weights").write_bytes(b"1")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, by this process and by those it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary._sweep_once.cache_clear()
    return tmp_path


def test_a_folder_is_gone_when_its_owner_is_done(place: Path) -> None:
    with temporary_folder() as folder:
        (folder / "file").touch()
        sweep(place)
        assert (folder / "file").exists(), "its owner lives"
        assert folder.parent == place and folder.name.startswith(PREFIX)
    assert list(place.iterdir()) == []


def test_the_folder_of_a_killed_process_is_swept(place: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        theirs = Path(owner.stdout.readline().strip())
        assert theirs.parent == place
        with temporary_folder():
            assert (theirs / "weights").exists(), "its owner lives"
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert (theirs / "weights").exists(), "nothing could be done on the way out"
        with temporary_folder():
            assert theirs.exists(), "a process looks once"
        temporary._sweep_once.cache_clear()
        with temporary_folder() as ours:
            assert list(place.iterdir()) == [ours]


@pytest.mark.parametrize("name", [f"{PREFIX}tests", "other"])
def test_what_is_not_ours_stays(place: Path, name: str) -> None:
    """A folder without an owner's file, and one of another name."""
    found = place / name
    found.mkdir()
    if name == "other":
        (found / ".owner").touch()
    sweep(place)
    assert found.exists()


def test_links_and_folders_of_others_stay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = place / "target"
    target.mkdir()
    (target / ".owner").touch()
    (place / f"{PREFIX}link").symlink_to(target)
    sweep(place)
    assert target.exists()
    theirs = place / f"{PREFIX}theirs"
    theirs.mkdir()
    (theirs / ".owner").touch()
    monkeypatch.setattr(os, "geteuid", lambda: theirs.stat().st_uid + 1)
    sweep(place)
    assert theirs.exists()
    monkeypatch.undo()
    sweep(place)
    assert not theirs.exists()
