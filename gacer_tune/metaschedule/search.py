"""The search for variants: rounds of proposals for all kernels, each followed by timing kernel after kernel.

Proposing and compiling use all cores; measuring has them to itself. What a round has found is in the cache before the
next one begins.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gacer_tune.errors import UserError
from gacer_tune.events import Event, Listen
from gacer_tune.kernels.build import build, key
from gacer_tune.kernels.encoding import encode
from gacer_tune.kernels.rules import Source
from gacer_tune.metaschedule.compiling import Answers, ask
from gacer_tune.metaschedule.records import NOTHING, Attempt, KernelRecord, put
from gacer_tune.metaschedule.timing import measure
from gacer_tune.search.trial import Failure
from gacer_tune.store.cache import Cache
from gacer_tune.temporary import temporary_folder

ROUND = 16  # trials of a kernel between two proposals

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where kernels are compiled, kept and measured; stop: when set, no further round is begun."""

    cache: Cache
    cpus: tuple[int, ...]
    listen: Listen
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class Searched:
    """A kernel, our own variant of it that the others must equal, and what is known."""

    ours: Source
    record: KernelRecord


def search(kernels: Sequence[Searched], trials: int, place: Place) -> list[KernelRecord]:
    """The records once every kernel has had so many trials, or `stop` is set.

    Raises UserError where MetaSchedule does not run at all.
    """
    found = [kernel.record for kernel in kernels]
    left = [n for n, record in enumerate(found) if record.asked < trials]
    first = True
    while left and not place.stop.is_set():
        _tell(found, trials, place)
        batches = [(n, min(ROUND, max(1, trials - len(found[n].attempts)))) for n in left]
        with temporary_folder() as folder:
            answers = _answers([(found[n], count) for n, count in batches], folder, place)
            if first and all(answer.trouble for answer in answers):
                raise UserError(
                    f"kernels metaschedule: MetaSchedule does not run: {answers[0].trouble}; use kernels own"
                )
            for number, answer in zip(left, answers, strict=True):
                if not place.stop.is_set():
                    found[number] = _after(kernels[number].ours, found[number], answer, trials, place)
                    _tell(found, trials, place)
        troubled = {number for number, answer in zip(left, answers, strict=True) if answer.trouble}
        left, first = [n for n in left if found[n].asked < trials and n not in troubled], False
    return found


def _tell(found: Sequence[KernelRecord], trials: int, place: Place) -> None:
    done = sum(trials if record.asked >= trials else len(record.attempts) for record in found)
    place.listen(Event("metaschedule", f"{len(found)} kernels, trials", done, trials * len(found)))


def _answers(asked: Sequence[tuple[KernelRecord, int]], folder: Path, place: Place) -> list[Answers]:
    """What is proposed for each of these records, with the objects in folder."""

    def one(number: int) -> Answers:
        if place.stop.is_set():
            return Answers()
        record, count = asked[number]
        seed = 1 + len(record.attempts)
        tried = [(asdict(tile), seconds) for tile, seconds in record.tried]
        return ask({"source": _encoded(record), "tried": tried, "count": count, "seed": seed}, _sub(folder, number))

    with ThreadPoolExecutor(len(place.cpus)) as pool:
        return list(pool.map(one, range(len(asked))))


def _encoded(record: KernelRecord) -> dict[str, Any]:
    return encode(record.source(NOTHING))


def _sub(folder: Path, name: object) -> Path:
    made = folder / str(name)
    made.mkdir()
    return made


def _after(ours: Source, record: KernelRecord, answer: Answers, trials: int, place: Place) -> KernelRecord:
    """The record with what was proposed, timed and kept; the code of the fastest is in the cache, too."""
    if answer.trouble:
        _log.warning("%s: MetaSchedule gave up: %s", ours.name, answer.trouble)
    attempts = [Attempt(tile, failure) for tile, failure in answer.failed.items()]
    attempts += [Attempt(tile, Failure("illegal", why)) for tile, why in answer.refused.items()]
    if answer.compiled:
        tiles = list(answer.compiled)
        own = build([ours], place.cache, 1, lambda _done, _all: None)[ours.name]
        sources = [record.source(tile) for tile in tiles]
        with temporary_folder() as folder:
            results = measure(ours, sources, [own, *answer.compiled.values()], folder, place.cpus)
        attempts += [Attempt(tile, result) for tile, result in zip(tiles, results, strict=True)]
    found = replace(record, attempts=record.attempts + tuple(attempts))
    if found.best in answer.compiled:
        _keep(found.source(found.best), answer.compiled[found.best], place.cache)
    if len(found.attempts) >= trials or (answer.none and not answer.trouble):
        found = replace(found, asked=trials)
    put(place.cache, found)
    return found


def _keep(source: Source, code: Path, cache: Cache) -> None:
    cache.put(key(source.name), code.read_bytes(), ".o")


def usable(record: KernelRecord, cache: Cache) -> Source | None:
    """The fastest variant of a record; None where there is none, or what a record says of it makes no kernel.

    It is compiled in a process of its own where the cache does not have it: the record may come from anybody.
    """
    tile = record.best
    if tile is None:
        return None
    source = record.source(tile)
    if cache.get(key(source.name)) is not None:
        return source
    with temporary_folder() as folder:
        answer = ask({"source": _encoded(record), "tiles": [asdict(tile)]}, folder)
        if tile not in answer.compiled:
            reasons = (answer.trouble, *answer.refused.values(), *(f.message for f in answer.failed.values()))
            _log.warning("%s: record of MetaSchedule ignored: %s", source.name, next(filter(None, reasons), "no code"))
            return None
        _keep(source, answer.compiled[tile], cache)
    return source
