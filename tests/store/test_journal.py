import errno
import json
import os
import re
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.store.journal import Damage, Journal

from .conftest import Room, Start

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
RECORDS = st.lists(st.dictionaries(st.text(max_size=4), VALUES | st.lists(VALUES, max_size=3), max_size=3), max_size=5)

APPEND_MANY = """
import sys
from pathlib import Path
from gacer_tune.store.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    journal.append({"writer": int(sys.argv[2]), "number": number, "padding": "x" * (number * 37 % 500)})
"""

DIE_IN_THE_MIDDLE_OF_A_LINE = """
import os, signal, sys
from pathlib import Path
from gacer_tune.store.journal import Journal
whole = os.write
def half(descriptor, data):
    whole(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = half
Journal(Path(sys.argv[1])).append({"number": 1})
"""

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from gacer_tune.store.lock import exclusive
with exclusive(Path(sys.argv[1]), 5):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "trials.jsonl", lock_timeout_s=10.0)


def test_a_line_is_json_with_the_checksum_of_the_canonical_record(journal: Journal) -> None:
    journal.append({"b": 1, "a": (2.5, None)})
    assert journal.path.read_bytes() == b'{"crc":"b835e6b0","record":{"a":[2.5,null],"b":1}}\n'
    assert journal.read() == ([{"a": [2.5, None], "b": 1}], [])


def test_no_file_is_an_empty_journal_and_the_folder_is_made_by_the_first_append(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "deep" / "trials.jsonl")
    assert journal.read() == ([], [])
    assert not (tmp_path / "new").exists()
    journal.append({})
    assert journal.read() == ([{}], [])


def test_journals_of_earlier_runs_are_all_kept(journal: Journal) -> None:
    """Number 1 is of the first run; where there was none, nothing is set aside."""
    for number in range(3):
        journal.set_aside()
        journal.append({"run": number})
    found = {path.name: Journal(path).read()[0] for path in journal.path.parent.glob("*.jsonl")}
    assert found == {"trials.1.jsonl": [{"run": 0}], "trials.2.jsonl": [{"run": 1}], "trials.jsonl": [{"run": 2}]}


def test_a_line_that_another_tool_has_reformatted_is_still_whole(journal: Journal) -> None:
    journal.append({"b": 1, "a": 2})
    envelope = json.loads(journal.path.read_text())
    journal.path.write_text(json.dumps({"record": {"b": 1, "a": 2}, "crc": envelope["crc"]}, indent=None) + "\r\n")
    assert journal.read() == ([{"a": 2, "b": 1}], [])


@given(RECORDS, st.data())
@settings(max_examples=60, deadline=None)
def test_any_truncation_leaves_a_prefix_and_later_records_are_read(records: list[Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "trials.jsonl")
        for record in records:
            journal.append(record)
        whole = journal.path.read_bytes() if records else b""
        journal.path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        left, damages = journal.read()
        # A line whose newline alone is missing is whole.
        assert len(left) in (journal.path.read_bytes().count(b"\n"), journal.path.read_bytes().count(b"\n") + 1)
        assert left == records[: len(left)]
        assert damages in ([], [Damage(len(left) + 1, "torn: the line does not end")])
        journal.append({"later": 1})
        journal.append({"later": 2})
        assert journal.read()[0] == [*left, {"later": 1}, {"later": 2}]
        assert [damage.line_number for damage in journal.read()[1]] == [damage.line_number for damage in damages]


@given(st.data(), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_spoils_the_lines_it_touches_and_no_other(data: st.DataObject, byte: int) -> None:
    records = [{"n": number, "seconds": 0.1 * number, "text": "t" * number} for number in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "trials.jsonl")
        for record in records:
            journal.append(record)
        text = bytearray(journal.path.read_bytes())
        position = data.draw(st.integers(0, len(text) - 1))
        text[position] = byte
        journal.path.write_bytes(bytes(text))
        left, damages = journal.read()
        assert [record for record in records if record in left] == left
        assert len(left) >= 2
        assert len(left) == 4 or damages


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\n", "damaged: not JSON"),
        (b"\0\0\0\n", "damaged: not JSON"),
        (b"\xff\xfe{}\n", "damaged: not JSON"),
        (b"[" * 100_000 + b"\n", "damaged: not JSON"),
        (b'{"crc":"00000000","record":{"a":NaN}}\n', "damaged: not JSON"),
        (b'{"a":1}\n', "not a record of this journal"),
        (b"[1]\n", "not a record of this journal"),
        (b'{"crc":"99914b93","record":{}}\n', "damaged: the checksum does not match"),
        (b'{"crc":null,"record":{}}\n', "damaged: the checksum does not match"),
        (b'{"crc":"0d4cbb29","record":[]}\n', "not a record of this journal"),
    ],
)
def test_a_damaged_line_is_set_aside_and_never_deleted(journal: Journal, line: bytes, reason: str) -> None:
    journal.append({"n": 0})
    before = journal.path.read_bytes()
    journal.path.write_bytes(before + line)
    journal.append({"n": 1})
    assert journal.read() == ([{"n": 0}, {"n": 1}], [Damage(2, reason)])
    assert journal.path.read_bytes().startswith(before + line)


@pytest.mark.parametrize("record", [{"a": float("nan")}, {"a": float("inf")}])
def test_what_json_cannot_hold_is_refused_before_the_disk_is_touched(journal: Journal, record: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        journal.append(record)
    assert list(journal.path.parent.iterdir()) == []


def test_writers_in_several_processes_lose_and_interleave_nothing(journal: Journal, start: Start) -> None:
    writers = [start(APPEND_MANY, journal.path, writer, 50) for writer in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    records, damages = journal.read()
    assert damages == []
    for writer in range(4):
        assert [record["number"] for record in records if record["writer"] == writer] == list(range(50))
    assert len(records) == 200


def test_a_killed_writer_costs_at_most_its_last_line(journal: Journal, start: Start) -> None:
    journal.append({"writer": -1, "number": 0})
    for round_number in range(3):
        already = len(journal.read()[0])
        writer = start(APPEND_MANY, journal.path, round_number, 1_000_000)
        deadline_s = time.monotonic() + 30
        while len(journal.read()[0]) < already + 5 and time.monotonic() < deadline_s:
            time.sleep(0.003 * (round_number + 1))
        writer.kill()
        assert writer.wait(10) == -signal.SIGKILL
        records, damages = journal.read()
        mine = [record["number"] for record in records if record["writer"] == round_number]
        assert mine == list(range(len(mine)))
        assert len(mine) >= 5
        assert len(damages) <= round_number + 1
        journal.append({"writer": -1, "number": round_number})
        found, still = journal.read()
        assert found == [*records, {"writer": -1, "number": round_number}]
        assert [damage.line_number for damage in still] == [damage.line_number for damage in damages]


def test_a_writer_killed_in_mid_line_leaves_a_torn_tail_and_no_lock(journal: Journal, start: Start) -> None:
    journal.append({"number": 0})
    assert start(DIE_IN_THE_MIDDLE_OF_A_LINE, journal.path).wait(30) == -signal.SIGKILL
    holder = journal.path.with_name("trials.jsonl.holder")
    assert holder.exists()
    assert journal.read() == ([{"number": 0}], [Damage(2, "torn: the line does not end")])
    Journal(journal.path, lock_timeout_s=0).append({"number": 2})
    assert not holder.exists()
    assert journal.read() == ([{"number": 0}, {"number": 2}], [Damage(2, "damaged: not JSON")])


def test_waiting_too_long_names_the_holder(journal: Journal, start: Start) -> None:
    process = start(HOLD_THE_LOCK, journal.path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError) as caught:
        Journal(journal.path, lock_timeout_s=0.05).append({})
    holder = f"process {process.pid} on {socket.gethostname()}"
    assert str(caught.value) == f"{journal.path}: locked by {holder}, waited 0.05 s"
    process.kill()
    process.wait(10)
    journal.append({"after": "the kill"})
    assert journal.read()[0] == [{"after": "the kill"}]


def test_what_stands_in_a_holder_file_cannot_steer_a_terminal(journal: Journal, start: Start) -> None:
    process = start(HOLD_THE_LOCK, journal.path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    journal.path.with_name("trials.jsonl.holder").write_bytes(b"\x1b[2Jme\xff\n" + b"x" * 1000)
    with pytest.raises(UserError, match=r"locked by \[2Jme�x{190,200}, waited"):
        Journal(journal.path, lock_timeout_s=0).append({})


@pytest.mark.parametrize(("spare", "reason"), [(20, "the disk is full"), (0, "the file would be larger than")])
def test_no_room_leaves_no_half_line(journal: Journal, room: Room, spare: int, reason: str) -> None:
    journal.append({"n": 0, "padding": "p" * 300})
    before = journal.path.read_bytes()
    with room(len(before) + spare), pytest.raises(UserError, match=f"{journal.path}: cannot be written: {reason}"):
        journal.append({"n": 1})
    assert journal.path.read_bytes() == before
    journal.append({"n": 2})
    assert [record["n"] for record in journal.read()[0]] == [0, 2]


def test_a_disk_that_fails_at_the_sync_leaves_no_line(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal.append({"n": 0})
    before = journal.path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(UserError, match="the disk is full"):
        patch.setattr(os, "fsync", failing)
        journal.append({"n": 1})
    assert journal.path.read_bytes() == before


def test_a_read_only_disk_is_named(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open = os.open

    def read_only(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(journal.path.parent)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return really_open(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(UserError, match=rf"^{re.escape(str(journal.path))}: cannot be .*the file system is read-only$"):
        journal.append({})


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a part of the path is a file"):
        Journal(tmp_path / "file" / "deeper" / "trials.jsonl").append({})
    with pytest.raises(UserError, match=r"cannot be .*it is a folder"):
        Journal(tmp_path).append({})
    with pytest.raises(UserError, match="cannot be read: it is a folder"):
        Journal(tmp_path).read()
