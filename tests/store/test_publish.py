import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.store.publish import open_artifact, publish, require_writable

from .conftest import Room, Start

FILES = {"module.so": b"code" * 100, "weights.safetensors": b"", "schedule.json": b"{}"}

# Publishes version 2 and dies like a power failure at the rename of the given number.
DIE_AT_RENAME = """
import os, sys
from pathlib import Path
from gacer_tune.store.publish import publish
really_replace, left = Path.replace, [int(sys.argv[2])]
def replace(self, target):
    if left[0] == 0:
        os._exit(9)
    left[0] -= 1
    return really_replace(self, target)
Path.replace = replace
publish(Path(sys.argv[1]), {"a.bin": b"new a", "b.bin": b"new b"}, {"version": 2})
"""

PUBLISH_OFTEN = """
import sys
from pathlib import Path
from gacer_tune.store.publish import publish
for number in range(int(sys.argv[3])):
    text = f"{sys.argv[2]} {number}"
    publish(Path(sys.argv[1]), {f"f{i}": text.encode() for i in range(5)}, {"version": text})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish(tmp_path / "out", FILES, {"device": "one", "figures": {"speed_up": 1.5}})
    return tmp_path / "out"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def change_manifest(folder: Path, **fields: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_manifest_vouches_for_every_file(folder: Path) -> None:
    manifest = open_artifact(folder, needed=FILES)
    assert manifest == {
        "device": "one",
        "figures": {"speed_up": 1.5},
        "format": 1,
        "files": {
            name: {"nbytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in FILES.items()
        },
    }
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert names(folder) == {*FILES, "manifest.json", ".publish.lock"}


def test_a_file_can_be_copied_from_its_path_even_onto_itself(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(os.urandom(3_000_001))
    data = (tmp_path / "big.bin").read_bytes()
    publish(tmp_path, {"big.bin": tmp_path / "big.bin", "copy.bin": tmp_path / "big.bin"}, {})
    assert open_artifact(tmp_path)["files"]["copy.bin"]["nbytes"] == 3_000_001
    assert (tmp_path / "copy.bin").read_bytes() == (tmp_path / "big.bin").read_bytes() == data


def test_a_later_publication_replaces_the_earlier_one(folder: Path) -> None:
    publish(folder, {"module.so": b"better"}, {"device": "two"})
    manifest = open_artifact(folder, needed=["module.so"])
    assert (manifest["device"], list(manifest["files"])) == ("two", ["module.so"])
    with pytest.raises(UserError, match=r"schedule\.json: needed, but not listed in manifest\.json$"):
        open_artifact(folder, needed=["schedule.json"])


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/x", "a/b", "a\\b", ".hidden", "a\0b", "manifest.json", "a\n"]
)
def test_tricks_in_names_are_refused_in_both_directions(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a plain file name"):
        publish(folder, {name: b""}, {})
    change_manifest(folder, files={name: {"nbytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}})
    with pytest.raises(UserError) as caught:
        open_artifact(folder)
    assert str(caught.value) == f"{folder}/manifest.json: lists {name!r}, only plain file names are allowed"


@pytest.mark.parametrize("field", ["files", "format"])
def test_the_fields_of_the_format_cannot_be_given(tmp_path: Path, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        publish(tmp_path / "out", {}, {field: 1})
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_json_cannot_hold_leaves_the_old_artifact(folder: Path) -> None:
    before = names(folder)
    with pytest.raises(ValueError):
        publish(folder, {"module.so": b"other"}, {"seconds": float("nan")})
    assert open_artifact(folder)["device"] == "one"
    assert names(folder) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "out: no such folder"),
        (lambda f: (f / "manifest.json").unlink(), "out/manifest.json: missing, the artifact is not complete"),
        (lambda f: (f / "manifest.json").write_bytes(b""), "out/manifest.json: torn or damaged, it is not JSON"),
        (lambda f: (f / "manifest.json").write_bytes(b"[" * 99_999), "out/manifest.json: torn or damaged"),
        (lambda f: (f / "manifest.json").write_bytes(b'{"format": "\xff'), "out/manifest.json: torn or damaged"),
        (lambda f: (f / "manifest.json").write_bytes(b"[]"), "it has no format number"),
        (lambda f: (f / "manifest.json").write_bytes(b'{"format": true}'), "it has no format number"),
        (lambda f: (f / "manifest.json").write_bytes(b'{"format": 1}'), "it lists no files"),
        (lambda f: change_manifest(f, format=2), "newer format 2, this version reads format 1"),
        (lambda f: change_manifest(f, format=0), "unknown format 0, this version reads format 1"),
        (lambda f: change_manifest(f, files={"module.so": {}}), "module.so is listed without its sha256 and nbytes"),
        (lambda f: change_manifest(f, files={"module.so": None}), "module.so is listed without its sha256 and nbytes"),
        (lambda f: (f / "module.so").unlink(), "out/module.so: missing, the artifact is not complete"),
        (lambda f: (f / "module.so").write_bytes(b"c0de" * 100), "out/module.so: its sha256 differs from the one in"),
        (lambda f: (f / "module.so").write_bytes(b"code" * 99), "out/module.so: 396 bytes, manifest.json says 400"),
    ],
)
def test_what_is_not_a_whole_artifact_is_refused(folder: Path, spoil: Any, message: str) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=re.escape(message)):
        open_artifact(folder)


def test_links_pipes_and_folders_are_no_files_of_an_artifact(folder: Path, tmp_path: Path) -> None:
    path = folder / "module.so"
    path.rename(tmp_path / "elsewhere.so")
    path.symlink_to(tmp_path / "elsewhere.so")
    with pytest.raises(UserError, match=r"module\.so: a symbolic link"):
        open_artifact(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"module\.so: not a plain file"):
        open_artifact(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"module\.so: not a plain file"):
        open_artifact(folder)
    (folder / "manifest.json").rename(tmp_path / "manifest.json")
    (folder / "manifest.json").symlink_to(tmp_path / "manifest.json")
    with pytest.raises(UserError, match=r"manifest\.json: a symbolic link"):
        open_artifact(folder)


def test_publishing_replaces_a_link_instead_of_writing_through_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    for name in ("module.so", ".staged-module.so"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "precious")
    publish(folder, {"module.so": b"new"}, {})
    open_artifact(folder)
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (folder / "module.so").is_symlink()


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_damage_to_any_file_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        publish(Path(folder), {"a": b"some bytes", "b": b"{}"}, {"field": "value"})
        path = Path(folder) / data.draw(st.sampled_from(["a", "b", "manifest.json"]))
        whole = path.read_bytes()
        end = data.draw(st.integers(0, len(whole) - 2))
        # A flipped bit in the manifest may be a harmless one, so there only the cut counts.
        middle = b"" if path.name == "manifest.json" else bytes([whole[end] ^ data.draw(st.integers(1, 255))])
        path.write_bytes(whole[:end] + middle + (whole[end + 1 :] if middle else b""))
        with pytest.raises(UserError, match=str(path)):
            open_artifact(Path(folder))


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_crash_at_any_rename_shows_one_version_or_none(tmp_path: Path, start: Start, renames: int) -> None:
    publish(tmp_path, {"a.bin": b"old a", "b.bin": b"old b"}, {"version": 1})
    assert start(DIE_AT_RENAME, tmp_path, renames).wait(30) == (0 if renames == 3 else 9)
    if renames in (1, 2):
        with pytest.raises(UserError, match=r"a\.bin: its sha256 differs"):
            open_artifact(tmp_path)
    else:
        version = open_artifact(tmp_path)["version"]
        assert version == (1 if renames == 0 else 2)
        assert (tmp_path / "b.bin").read_bytes() == (b"old b" if version == 1 else b"new b")
    publish(tmp_path, {"a.bin": b"a", "b.bin": b"b"}, {"version": 3})
    assert open_artifact(tmp_path)["version"] == 3
    assert [name for name in names(tmp_path) if name.startswith((".staged", ".probe"))] == []


def test_readers_and_several_publishers_never_see_a_mixture(tmp_path: Path, start: Start) -> None:
    publish(tmp_path, {f"f{i}": b"first" for i in range(5)}, {"version": "first"})
    publishers = [start(PUBLISH_OFTEN, tmp_path, who, 15) for who in ("x", "y")]
    seen, deadline_s = set(), time.monotonic() + 60
    while any(publisher.poll() is None for publisher in publishers) and time.monotonic() < deadline_s:
        try:
            manifest = open_artifact(tmp_path)
        except UserError as error:
            assert "being published now" in str(error)
            continue
        version = manifest["version"].encode()
        assert {facts["sha256"] for facts in manifest["files"].values()} == {hashlib.sha256(version).hexdigest()}
        seen.add(version)
    assert [publisher.wait(1) for publisher in publishers] == [0, 0]
    assert len(seen) > 1
    last = open_artifact(tmp_path)["version"]
    assert last in ("x 14", "y 14")
    assert {(tmp_path / f"f{i}").read_text() for i in range(5)} == {last}


def test_no_room_leaves_the_old_artifact_untouched(folder: Path, room: Room) -> None:
    before = names(folder)
    with (
        room(10_000),
        pytest.raises(UserError, match=r"out/weights\.safetensors: cannot be written: the file would be"),
    ):
        publish(folder, {"module.so": b"new", "weights.safetensors": b"w" * 20_000}, {})
    assert open_artifact(folder)["device"] == "one"
    assert names(folder) == before


def test_a_disk_without_the_needed_space_is_refused_before_writing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 93, 7))
    require_writable(folder, 7)
    with pytest.raises(UserError) as caught:
        publish(folder, {"module.so": b"12345678"}, {})
    assert str(caught.value) == f"{folder}: 8 bytes are needed, 7 bytes are free on its disk"
    assert open_artifact(folder)["device"] == "one"


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match=r"out: cannot be written: a file of that name is in the way$"):
        require_writable(tmp_path / "out")
    with pytest.raises(UserError, match=r"deep: cannot be written: a part of the path is a file, not a folder$"):
        publish(tmp_path / "out" / "deep", {}, {})


def test_a_folder_in_the_way_of_a_file_is_found_before_the_first_rename(folder: Path) -> None:
    (folder / "z").mkdir()
    with pytest.raises(UserError, match="out/z: cannot be written: it is a folder"):
        publish(folder, {"module.so": b"new", "z": b""}, {})
    assert open_artifact(folder)["device"] == "one"


def test_a_read_only_folder_is_found_by_writing_to_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(UserError, match=r"out: cannot be written: permission denied$"):
        publish(folder, {}, {})


def test_a_source_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone: cannot be read: no such file or folder$"):
        publish(folder, {"module.so": tmp_path / "gone"}, {})
    with pytest.raises(UserError, match=r"cannot be read: it is a folder$"):
        publish(folder, {"module.so": tmp_path}, {})
    assert open_artifact(folder)["device"] == "one"


def test_an_empty_artifact_is_one(tmp_path: Path) -> None:
    publish(tmp_path / "a" / "b", {}, {})
    assert open_artifact(tmp_path / "a" / "b") == {"format": 1, "files": {}}
    require_writable(tmp_path / "c", 1)
    assert names(tmp_path / "c") == set()
