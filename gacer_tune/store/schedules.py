"""Finished searches in the cache: which schedule was found for which models on which machine, and how good it was.

A record is one file of the cache, suffix `.schedule`, JSON. It holds decisions and what they refer to, no code and no
weights, so it may come from another machine: what it offers is checked against the models at hand and measured.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache as once
from typing import TYPE_CHECKING, Any

from gacer_tune.cost_model.profile import Profile, refuse_mismatch
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Tenant, Workload
from gacer_tune.search.objective import ObjectiveName
from gacer_tune.search.trial import Trial
from gacer_tune.store.cache import Cache, Entry
from gacer_tune.store.canonical import canonical_json, digest
from gacer_tune.store.fingerprint import Fingerprint

if TYPE_CHECKING:
    from pydantic import TypeAdapter

KIND = "gacer-tune schedule"
FORMAT = 1
SUFFIX = ".schedule"
MOST_LANES = 4096
MOST_NBYTES = 64 << 20  # of one record
MOST_GPU = 1000  # characters of what is said of a GPU
BFLOAT16 = canonical_json({"precision": "bf16"})  # what is said of a CPU where products are not float32


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds of the objective for the best baseline and for the schedule, in interleaved pairs.

    accepted: the schedule beat the baseline; else it is the baseline. trials: how many were measured to find it.
    """

    baseline: str
    baseline_s: float
    best_s: float
    p_value: float
    accepted: bool
    trials: int


@dataclass(frozen=True)
class Record:
    """trials: the best other schedules, best first; fingerprint: where all was measured; made_s: when, Unix time.

    gpu: canonical JSON of the GPU and the precision of the kernels; for the target cpu empty, or BFLOAT16. profiled_by:
    digest of the code that has measured the profile, empty where nobody knows.
    """

    workload: Workload
    profile: Profile
    schedule: Schedule
    trials: tuple[Trial, ...]
    objective: str
    fingerprint: Fingerprint
    result: Result
    made_s: float
    gpu: str = ""
    profiled_by: str = ""

    @property
    def key(self) -> str:
        return key_of(self.workload, self.objective, self.schedule.lanes, self.fingerprint, self.gpu)

    @property
    def tenants(self) -> tuple[str, ...]:
        return tuple(tenant.name for tenant in self.workload.tenants)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "format": FORMAT,
            "workload": self.workload.to_json(),
            "profile": self.profile.to_json(),
            "schedule": self.schedule.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "objective": self.objective,
            "fingerprint": self.fingerprint.document(),
            "result": asdict(self.result),
            "made_s": self.made_s,
            "gpu": self.gpu,
            "profiled_by": self.profiled_by,
        }

    def to_bytes(self) -> bytes:
        return canonical_json(self.to_json()).encode("ascii")


def key_of(workload: Workload, objective: str, lanes: int, fingerprint: Fingerprint, gpu: str = "") -> str:
    """What a schedule was chosen for: models with shapes and batch, their weights and SLOs, target, objective, lanes,
    device, precision and toolchain.

    Left out: the names of the tenants, which change nothing, and the variants of the kernels, which are selected by
    times and so are not quite the same twice.
    """
    tenants = [[tenant.model, tenant.batch, tenant.weight, tenant.slo_s] for tenant in workload.tenants]
    return digest([KIND, FORMAT, tenants, workload.target, objective, lanes, fingerprint.key(), gpu])


def parse(data: bytes) -> Record:
    """The record of these bytes, whoever wrote them. Raises ValueError with the reason for anything else."""
    try:
        document = json.loads(data.decode("ascii"), parse_constant=_refuse_constant)
        if not isinstance(document, dict) or document.get("kind") != KIND:
            raise ValueError("not a record of a schedule")
        if document.get("format") != FORMAT:
            raise ValueError(f"format {document.get('format')!r}, this version reads {FORMAT}")
        record = _record(document)
        _refuse_odd(record)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a record of a schedule: {type(error).__name__}: {error}") from error
    return record


def _record(document: Mapping[str, Any]) -> Record:
    """The IR's own parsers trust their types, so these are checked first."""
    tenants = document["workload"]["tenants"]
    _typed(tuple[Tenant, ...], tenants)
    return Record(
        workload=Workload.from_json(document["workload"]),
        profile=Profile.from_json(document["profile"]),
        schedule=Schedule.from_json(document["schedule"]),
        trials=tuple(Trial.from_json(trial) for trial in document["trials"]),
        objective=_typed(ObjectiveName, document["objective"]),
        fingerprint=_typed(Fingerprint, document["fingerprint"]),
        result=_typed(Result, document["result"]),
        made_s=float(document["made_s"]),
        gpu=_typed(str, document["gpu"]),
        profiled_by=_typed(str, document.get("profiled_by", "")),
    )


def _typed(kind: Any, value: Any) -> Any:
    """The value as this type. Raises ValueError for one of another type, or with fields missing."""
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(canonical_json(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@once
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _refuse_odd(record: Record) -> None:
    """What has the right types and yet cannot be."""
    if record.workload.target not in ("cpu", "cuda"):
        raise ValueError(f"target {record.workload.target!r}")
    refuse_mismatch(record.workload, record.profile)
    for schedule in (record.schedule, *(trial.schedule for trial in record.trials)):
        if schedule.lanes > MOST_LANES:
            raise ValueError(f"lanes: {schedule.lanes}, at most {MOST_LANES}")
        verify(record.workload, schedule)
    numbers = (record.result.baseline_s, record.result.best_s, record.made_s)
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        raise ValueError(f"baseline_s, best_s and made_s {numbers}: finite numbers above 0")
    known = 0 < len(record.gpu) <= MOST_GPU if record.workload.target == "cuda" else record.gpu in ("", BFLOAT16)
    if not known:
        raise ValueError(f"target {record.workload.target}: gpu {record.gpu[:100]!r}")
    if not 0 <= record.result.p_value <= 1:
        raise ValueError(f"p_value {record.result.p_value}: from 0 to 1")


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def find(cache: Cache, key: str) -> Record | None:
    """The record of a key; None where there is none that this version can read."""
    path = cache.get(key)
    if path is None or path.suffix != SUFFIX:
        return None
    try:
        return parse(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None  # collected by another process since, or of another version


def records(cache: Cache, most: int | None = None) -> list[tuple[Entry, Record]]:
    """All readable records with their files, or the `most` of them that were last used; the latest made first.

    To look at them is not to use them.
    """
    keys: dict[str, Entry] = {}
    for entry in cache.list():
        if entry.path.suffix == SUFFIX:
            keys.setdefault(entry.key, entry)
    found = [(entry, record) for entry in list(keys.values())[:most] if (record := _read(entry)) is not None]
    return sorted(found, key=lambda pair: -pair[1].made_s)


def _read(entry: Entry) -> Record | None:
    """None for a file that is gone, damaged, or of another version."""
    try:
        data = entry.path.read_bytes()
        return parse(data) if hashlib.sha256(data).hexdigest() == entry.sha256 else None
    except (FileNotFoundError, ValueError):
        return None


def keep(cache: Cache, record: Record) -> bool:
    """Store what a search here has just found; False where an earlier search had found more.

    The earlier schedule was offered to the search and did not win, so the new one replaces it; but a search that found
    nothing better than a baseline does not erase one that did. Raises UserError where the cache cannot be written.
    """
    earlier = find(cache, record.key)
    if earlier is not None and earlier.result.accepted and not record.result.accepted:
        return False
    put(cache, record)
    return True


def put(cache: Cache, record: Record) -> None:
    """Store the record under its key, whatever was there."""
    cache.put(record.key, record.to_bytes(), SUFFIX)
