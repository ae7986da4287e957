"""Measured plans of one workload with all that is needed to predict them again: workload, profile, trials.

Features are not kept: they follow from these three, whatever their version.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gacer_tune.cost_model.profile import Profile, refuse_mismatch
from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Workload, canonical
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.store.durable import refusing

FORMAT = 1
SUFFIX = ".trials.gz"

_DIGITS = 9  # of a time in seconds: to the nanosecond
_MOST_NBYTES = 1 << 28  # of a file, unpacked


@dataclass(frozen=True)
class Recording:
    """Trials of a workload; `machine` names where they were measured."""

    name: str
    workload: Workload
    profile: Profile
    trials: tuple[Trial, ...]
    machine: str = ""


def write_recording(path: Path, recording: Recording) -> None:
    """Write a gzip'd file of JSON lines: a head, then one trial a line. Equal recordings are equal files."""
    head = {
        "format": FORMAT,
        "name": recording.name,
        "machine": recording.machine,
        "workload": recording.workload.to_json(),
        "profile": recording.profile.to_json(),
    }
    lines = [head, *(_rounded(trial).to_json() for trial in recording.trials)]
    content = "".join(f"{canonical(line)}\n" for line in lines).encode()
    with refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, 9, mtime=0))


def read_recording(path: Path) -> Recording:
    """Inverse of write_recording, up to a nanosecond. Raises UserError naming what is wrong with the file."""
    with refusing(path, "cannot be read"):
        content = path.read_bytes()
    try:
        lines = _unpacked(content).splitlines()
        head = json.loads(lines[0])
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']!r}, this version reads {FORMAT}")
        workload, profile = Workload.from_json(head["workload"]), Profile.from_json(head["profile"])
        refuse_mismatch(workload, profile)
        trials = tuple(Trial.from_json(json.loads(line)) for line in lines[1:])
    except (KeyError, IndexError, TypeError, ValueError, RecursionError, zlib.error, EOFError) as error:
        raise UserError(f"{path}: no recording of trials: {error}") from error
    return Recording(str(head["name"]), workload, profile, trials, str(head["machine"]))


def _unpacked(content: bytes) -> bytes:
    """Raises ValueError for what is no gzip, is cut short, or unpacks to more than any recording holds."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    data = unpacker.decompress(content, _MOST_NBYTES)
    if not unpacker.eof:
        raise ValueError("cut short, or far too large")
    return data


def _rounded(trial: Trial) -> Trial:
    if not isinstance(trial.result, Timing):
        return trial
    timing = Timing(tuple(_ns(trial.result.seconds)), tuple(_ns(trial.result.tenants_s)))
    return Trial(trial.schedule, timing, trial.origin, trial.number, round(trial.at_s, 3))


def _ns(times: Iterable[float]) -> Iterator[float]:
    return (round(seconds, _DIGITS) for seconds in times)
