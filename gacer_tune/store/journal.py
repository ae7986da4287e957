r"""An append-only log of JSON records that many processes may write and any crash may cut.

One record is one line, `{"crc":"1c291ca3","record":{...}}\n`: the crc is the CRC-32 of the record's canonical JSON, so
a line says by itself whether it is whole, also after a tool has reformatted it. Damaged lines stay where they are.
"""

import contextlib
import errno
import itertools
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gacer_tune.store.canonical import canonical_json
from gacer_tune.store.durable import refusing, sync_folder
from gacer_tune.store.lock import exclusive

JOURNAL = "journal.jsonl"  # of a tuning run, in the folder that it writes

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that is set aside; `line_number` counts from 1."""

    line_number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Journal:
    """The log at `path`; its lock is `PATH.lock`, whose holder is named in `PATH.holder`."""

    path: Path
    lock_timeout_s: float = 30.0

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record; when this returns, it is on the disk.

        The folder is made if need be. A torn last line is left alone: the record starts on a line of its own. Raises
        ValueError or TypeError for what JSON cannot hold, UserError where the file cannot be locked or written; then
        the file is as it was.
        """
        line = _line(dict(record))
        with refusing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path, self.lock_timeout_s), refusing(self.path):
            self._append_line(line)

    def read(self) -> tuple[list[Record], list[Damage]]:
        """All whole records in order, and the lines that hold none. No file is an empty journal.

        Needs no lock: a line that is being written at this moment may be reported as torn. Tuples come back as lists.
        Raises UserError where the file cannot be read.
        """
        records: list[Record] = []
        damages: list[Damage] = []
        with refusing(self.path, "cannot be read"):
            if not self.path.exists():
                return records, damages
            with self.path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    record = _record(line)
                    if isinstance(record, str):
                        damages.append(Damage(number, record))
                    else:
                        records.append(record)
        return records, damages

    def set_aside(self) -> None:
        """Give what is there, if anything, the first name that is free: `journal.1.jsonl`, `journal.2.jsonl`, ..."""
        numbered = (self.path.with_suffix(f".{number}{self.path.suffix}") for number in itertools.count(1))
        with refusing(self.path):
            if self.path.exists():
                self.path.rename(next(path for path in numbered if not path.exists()))

    def _append_line(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            nbytes = os.fstat(descriptor).st_size
            torn = nbytes > 0 and os.pread(descriptor, 1, nbytes - 1) != b"\n"
            try:
                _write_once(descriptor, b"\n" + line if torn else line)
                if nbytes == 0:
                    sync_folder(self.path.parent)
            except OSError:
                # Should this fail too, half a line stays: torn, but reported as such and harmless to the next one.
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, nbytes)
                raise
        finally:
            os.close(descriptor)


def _write_once(descriptor: int, data: bytes) -> None:
    """One write, so that no reader sees two halves; a short one means that there was no room for the rest."""
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _line(record: Record) -> bytes:
    text = canonical_json(record)
    return f'{{"crc":"{_crc(text)}","record":{text}}}\n'.encode("ascii")


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode('ascii')):08x}"


def _record(line: bytes) -> Record | str:
    """The record of a line, or why it has none."""
    try:
        envelope = json.loads(line.decode("utf-8"))
        if not isinstance(envelope, dict) or set(envelope) != {"crc", "record"}:
            return "not a record of this journal"
        record, crc = envelope["record"], _crc(canonical_json(envelope["record"]))
    except (ValueError, RecursionError):
        return "damaged: not JSON" if line.endswith(b"\n") else "torn: the line does not end"
    if envelope["crc"] != crc:
        return "damaged: the checksum does not match"
    return record if isinstance(record, dict) else "not a record of this journal"
