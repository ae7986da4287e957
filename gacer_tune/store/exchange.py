"""Schedules on their way between machines: one zip file of records, no code.

`manifest.json` lists each `schedules/KEY.json`, and each `kernels/KEY.jsonl` of what MetaSchedule has found, with size
and sha256. Nothing is ever unpacked to a path that the file names; a file that is not exactly what its manifest says is
refused as a whole, before anything of it enters the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gacer_tune.errors import UserError
from gacer_tune.metaschedule import records as kernels
from gacer_tune.metaschedule.records import KernelRecord
from gacer_tune.report.units import nbytes_text, seconds_text
from gacer_tune.store.cache import Cache
from gacer_tune.store.canonical import readable_json
from gacer_tune.store.durable import refusing, replacing
from gacer_tune.store.schedules import MOST_NBYTES, Record, find, parse, put

KIND = "gacer-tune schedules"
FORMAT = 1
MANIFEST = "manifest.json"
MOST_FILES = 10_000
MOST_TOTAL_NBYTES = 512 << 20
_NAME = re.compile(r"schedules/[0-9a-f]{64}\.json|kernels/[0-9a-f]{64}\.jsonl")
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_SKEW_S = 86400.0  # clocks differ, but not by more
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error)

Verdict = Literal["taken", "refused", "invalid"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one record, and why; `record` is None where it is none, or is that of a `kernel`."""

    name: str
    verdict: Verdict
    reason: str
    record: Record | None = None
    kernel: KernelRecord | None = None


def export(records: Sequence[Record], path: Path, searched: Sequence[KernelRecord] = ()) -> int:
    """Write the records to one file, which is there whole or not at all; return its size in bytes.

    Equal records make equal files. Raises UserError where it cannot be written.
    """
    contents = {f"schedules/{record.key}.json": record.to_bytes() for record in records}
    contents |= {f"kernels/{record.key}.jsonl": record.to_bytes() for record in searched}
    files = {name: {"nbytes": len(data), "sha256": _sha256(data)} for name, data in contents.items()}
    manifest = readable_json({"kind": KIND, "format": FORMAT, "files": files}).encode("ascii")
    with replacing(path) as staged, zipfile.ZipFile(staged, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted({MANIFEST: manifest, **contents}.items()):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    with refusing(path):
        return path.stat().st_size


def read(path: Path) -> dict[str, bytes]:
    """The content of every record of an exported file, by name, each as long and with the hash that was promised.

    Raises UserError for anything else: no such file, torn, too large, names other than those of records, links,
    encryption, what the manifest does not list, and what it lists and is not there.
    """
    with _opened(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        if len(infos) != len(archive.infolist()):
            raise UserError(f"{path}: a name is in it twice")
        _refuse_large(path, infos)
        files = _manifest(path, archive, infos)
        found = {name: _bounded(archive, infos[name], MOST_NBYTES) for name in files}
    for name, data in found.items():
        if len(data) != files[name].get("nbytes") or _sha256(data) != files[name].get("sha256"):
            raise UserError(f"{path}: {name} is not what {MANIFEST} says: changed or damaged since it was exported")
    return found


def take(cache: Cache, path: Path, now_s: float | None = None) -> list[Arrival]:
    """Import a file: every record that is valid and neither older nor slower than what the cache has for its key.

    Of a kernel the record with more trials is kept.

    All of the file is checked before the first record enters. Raises UserError where the file cannot be used at all,
    or the cache cannot be written.
    """
    now_s = time.time() if now_s is None else now_s
    arrivals = [_judge(cache, name, data, now_s) for name, data in read(path).items()]
    for arrival in arrivals:
        if arrival.verdict == "taken" and arrival.record is not None:
            put(cache, arrival.record)
        if arrival.verdict == "taken" and arrival.kernel is not None:
            kernels.put(cache, arrival.kernel)
    return arrivals


def _judge(cache: Cache, name: str, data: bytes, now_s: float) -> Arrival:
    if name.startswith("kernels/"):
        return _judge_kernel(cache, name, data)
    try:
        record = parse(data)
    except ValueError as error:
        return Arrival(name, "invalid", str(error).partition("\n")[0])
    if name != f"schedules/{record.key}.json":
        return Arrival(name, "invalid", "its name is not the key of what it holds", record)
    if record.made_s > now_s + _SKEW_S:
        return Arrival(name, "invalid", "made in the future", record)
    here = find(cache, record.key)
    return Arrival(name, "taken", "", record) if here is None else _against(name, record, here)


def _judge_kernel(cache: Cache, name: str, data: bytes) -> Arrival:
    try:
        found = kernels.parse(data)
    except ValueError as error:
        return Arrival(name, "invalid", str(error).partition("\n")[0])
    if name != f"kernels/{found.key}.jsonl":
        return Arrival(name, "invalid", "its name is not the key of what it holds", kernel=found)
    here = kernels.find(cache, replace(found, attempts=(), asked=0))
    if (len(here.attempts), here.asked) >= (len(found.attempts), found.asked):
        return Arrival(name, "refused", f"the cache has {len(here.attempts)} trials of it", kernel=found)
    return Arrival(name, "taken", f"{len(found.attempts)} trials, {len(here.attempts)} before", kernel=found)


def _against(name: str, record: Record, here: Record) -> Arrival:
    """Newer and no slower, or the cache keeps what it has."""
    if record.to_bytes() == here.to_bytes():
        return Arrival(name, "refused", "already in the cache", record)
    if here.made_s >= record.made_s:
        return Arrival(name, "refused", "the cache has a newer one", record)
    ours, theirs = seconds_text(here.result.best_s), seconds_text(record.result.best_s)
    if here.result.best_s < record.result.best_s:
        return Arrival(name, "refused", f"the cache has a better one: {ours} against {theirs}", record)
    return Arrival(name, "taken", f"instead of an older one: {theirs} against {ours}", record)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is wrong with its bytes while it is read is the user's file, not our bug."""
    with refusing(path, "cannot be read"):
        if not path.is_file():
            raise UserError(f"{path}: {'not a plain file' if path.exists() else 'no such file'}")
        if path.stat().st_size > MOST_TOTAL_NBYTES:
            raise UserError(f"{path}: larger than {nbytes_text(MOST_TOTAL_NBYTES)}, no export of schedules")
        try:
            with zipfile.ZipFile(path) as archive:
                yield archive
        except _DAMAGED as error:
            raise UserError(f"{path}: torn or damaged, or no export of schedules: {error}") from error


def _refuse_large(path: Path, infos: dict[str, zipfile.ZipInfo]) -> None:
    if len(infos) > MOST_FILES:
        raise UserError(f"{path}: {len(infos)} files, at most {MOST_FILES}")
    total = sum(info.file_size for info in infos.values())
    if total > MOST_TOTAL_NBYTES:
        raise UserError(f"{path}: {nbytes_text(total)} when unpacked, at most {nbytes_text(MOST_TOTAL_NBYTES)}")
    for name, info in infos.items():
        if name != MANIFEST and _NAME.fullmatch(name) is None:
            raise UserError(f"{path}: holds {name!r}, only schedules/KEY.json and kernels/KEY.jsonl are allowed")
        if info.compress_type not in _PLAIN or info.flag_bits & _ENCRYPTED:
            raise UserError(f"{path}: {name} is encrypted or packed in an unknown way")


def _manifest(path: Path, archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo]) -> dict[str, dict[str, Any]]:
    """The files that it lists, exactly those that are there, each with nbytes and sha256."""
    if MANIFEST not in infos:
        raise UserError(f"{path}: no export of schedules, it has no {MANIFEST}")
    manifest = json.loads(_bounded(archive, infos[MANIFEST], MOST_NBYTES).decode("ascii"))
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise UserError(f"{path}: no export of schedules")
    if manifest.get("format") != FORMAT:
        raise UserError(f"{path}: format {manifest.get('format')!r}, this version reads {FORMAT}")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(facts, dict) for facts in files.values()):
        raise UserError(f"{path}: {MANIFEST} lists no files")
    if files.keys() != infos.keys() - {MANIFEST}:
        raise UserError(f"{path}: its files are not those that {MANIFEST} lists")
    return files


def _bounded(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """Not more than `most` bytes, whatever the archive says of the size."""
    with archive.open(info) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{info.filename} is larger than {nbytes_text(most)}")
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
