import errno
import hashlib
import os
from pathlib import Path

import pytest

from gacer_tune.errors import UserError
from gacer_tune.store.durable import Written, reason, refusing, sync_folder, write_new
from gacer_tune.store.publish import publish


def test_what_was_written_is_told(tmp_path: Path) -> None:
    assert write_new(tmp_path / "a", b"data") == Written(hashlib.sha256(b"data").hexdigest(), 4)
    assert write_new(tmp_path / "b", tmp_path / "a").nbytes == 4
    assert (tmp_path / "b").read_bytes() == b"data"


def test_a_file_that_exists_is_neither_overwritten_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_new(tmp_path / "a", b"new")
    assert list(tmp_path.iterdir()) == []
    assert write_new(tmp_path / "a", b"new", sync=False).nbytes == 3


def test_contents_reach_the_disk_before_names_and_files_before_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    really_sync, really_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        really_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        events.append(("rename", target.name))
        return really_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    publish(tmp_path / "out", {"b": b"b", "a": b"a"}, {})
    assert [event for event in events if not event[1].startswith(".probe")] == [
        *[("sync", ".staged-a"), ("sync", ".staged-b"), ("sync", ".staged-manifest.json")],
        *[("rename", "a"), ("rename", "b"), ("sync", "out")],
        *[("rename", "manifest.json"), ("sync", "out")],
    ]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_no_failure_but_a_broken_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refused)
    if code == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)


def test_reasons_are_words_and_other_errors_pass(tmp_path: Path) -> None:
    assert reason(OSError(errno.ENOSPC, "x")) == "the disk is full"
    assert reason(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert reason(OSError("without a number")) == "without a number"
    with (
        pytest.raises(UserError, match=r"^here: cannot be read: the disk quota is used up$"),
        refusing(Path("here"), "cannot be read"),
    ):
        raise OSError(errno.EDQUOT, "x")
    with pytest.raises(UserError, match=r"^as it is$"), refusing(tmp_path):
        raise UserError("as it is")
    with pytest.raises(ValueError, match=r"^mine$"), refusing(tmp_path):
        raise ValueError("mine")
