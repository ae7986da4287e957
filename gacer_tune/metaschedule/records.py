"""What MetaSchedule has found for a kernel on a machine, in the cache: decisions and times as lines of JSON, no code.

The first line says which kernel, which machine and which versions, every other one is an attempt. A record may come
from anybody: what it offers is compiled, and refused there unless it is one parallel loop that keeps the order of sums.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

from gacer_tune.kernels.encoding import decode, encode, value_of
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rules import Source, Spec, rule
from gacer_tune.kernels.scheduled import SPACE, Scheduled, product_of
from gacer_tune.search.trial import Result, Timing, result_from_json, result_json
from gacer_tune.store.cache import Cache
from gacer_tune.store.canonical import canonical_json, digest
from gacer_tune.store.fingerprint import Fingerprint

KIND = "gacer-tune kernel"
FORMAT = 1
SUFFIX = ".jsonl"
MOST_ATTEMPTS = 100_000
NOTHING = Scheduled(0, (), 0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A variant that was tried, and its time over all lanes or why it has none."""

    tile: Scheduled
    result: Result


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """All attempts at one kernel, in order; machine: the processor its code is for.

    asked: how many trials searches were asked for that have ended, also where there were not as many to be made.
    """

    spec: Spec
    machine: Machine
    fingerprint: Fingerprint
    attempts: tuple[Attempt, ...] = ()
    asked: int = 0

    @property
    def key(self) -> str:
        """The kernel, the machine with its versions of TVM, and what decisions mean."""
        parts = [rule(self.spec), asdict(self.spec), asdict(self.machine)]  # type: ignore[call-overload]
        return digest([KIND, FORMAT, SPACE, *parts, self.fingerprint.key()])

    @property
    def best(self) -> Scheduled | None:
        """The fastest variant; None where all have failed."""
        timed = [(a.result.median_s, n) for n, a in enumerate(self.attempts) if isinstance(a.result, Timing)]
        return self.attempts[min(timed)[1]].tile if timed else None

    @property
    def tried(self) -> tuple[tuple[Scheduled, float | None], ...]:
        """The tiles with their seconds, None for those that failed."""
        return tuple((a.tile, a.result.median_s if isinstance(a.result, Timing) else None) for a in self.attempts)

    def source(self, tile: Scheduled) -> Source:
        return Source(self.spec, tile, self.machine)

    def to_bytes(self) -> bytes:
        head = {
            "kind": KIND, "format": FORMAT, "space": SPACE, "kernel": encode(self.source(NOTHING)),
            "fingerprint": self.fingerprint.document(), "asked": self.asked,
        }  # fmt: skip
        rows = [{"tile": asdict(a.tile), **result_json(a.result)} for a in self.attempts]
        return "".join(canonical_json(line) + "\n" for line in (head, *rows)).encode("ascii")


def parse(data: bytes) -> KernelRecord:
    """The record of these bytes, whoever wrote them. Raises ValueError with the reason for anything else."""
    try:
        head, *rows = [json.loads(line) for line in data.decode("ascii").splitlines()]
        if head["kind"] != KIND or (head["format"], head["space"]) != (FORMAT, SPACE):
            raise ValueError(f"{head['kind']!r}, format {head['format']}.{head['space']}: not one this version reads")
        source = decode(head["kernel"])
        if not isinstance(source.machine, Machine) or product_of(source.spec, source.machine) is None:
            raise ValueError("a kernel that MetaSchedule is not asked about")
        if len(rows) > MOST_ATTEMPTS:
            raise ValueError(f"{len(rows)} attempts, at most {MOST_ATTEMPTS}")
        fingerprint, attempts = _fingerprint(head["fingerprint"]), tuple(_attempt(row) for row in rows)
        return KernelRecord(source.spec, source.machine, fingerprint, attempts, int(head["asked"]))
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, ImportError) as error:
        raise ValueError(f"not a record of a kernel: {type(error).__name__}: {error}") from error


def _fingerprint(document: Any) -> Fingerprint:
    found: Fingerprint = value_of(Fingerprint, document)
    if found.document() != document:
        raise ValueError("fingerprint: not that of a machine")
    return found


def _attempt(row: Any) -> Attempt:
    tile: Scheduled = value_of(Scheduled, row["tile"])
    numbers = [tile.space, tile.count, *(n for axis in tile.decisions for n in axis)]
    if not all(type(n) is int and 0 <= n < 1 << 31 for n in numbers):
        raise ValueError(f"decisions: {canonical_json(row['tile'])[:200]}")
    return Attempt(tile, result_from_json(row))


def find(cache: Cache, empty: KernelRecord) -> KernelRecord:
    """The record of a kernel here, else the empty one it was asked with; a damaged one is ignored with a warning."""
    path = cache.get(empty.key)
    if path is None or path.suffix != SUFFIX:
        return empty
    try:
        found = parse(path.read_bytes())
        if found.key != empty.key:
            raise ValueError("its name is not the key of what it holds")
    except FileNotFoundError:
        return empty  # collected by another process since
    except ValueError as error:
        _log.warning("%s: ignored, MetaSchedule searches again: %s", path.name, str(error).partition("\n")[0])
        return empty
    return found


def put(cache: Cache, record: KernelRecord) -> None:
    """Store the record under its key, whatever was there. Raises UserError where the cache cannot be written."""
    cache.put(record.key, record.to_bytes(), SUFFIX)


def records(cache: Cache) -> list[KernelRecord]:
    """All readable records, each once; to look at them is not to use them."""
    found: dict[str, KernelRecord] = {}
    for entry in cache.list():
        if entry.path.suffix == SUFFIX and entry.key not in found:
            try:
                found[entry.key] = parse(entry.path.read_bytes())
            except (FileNotFoundError, ValueError):
                continue  # gone, damaged, or of another version
    return list(found.values())
