"""What earlier searches found, offered to the next one; and what this one found, kept for those to come."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gacer_tune.cost_model.profile import Profile, best_variant
from gacer_tune.errors import UserError
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import normal
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Kernel, Tenant, Workload
from gacer_tune.preparing import profile_code
from gacer_tune.search.acceptance import Outcome, finalists
from gacer_tune.search.objective import Objective
from gacer_tune.search.trial import Trial
from gacer_tune.store.canonical import canonical_json
from gacer_tune.store.fingerprint import host_fingerprint
from gacer_tune.store.schedules import BFLOAT16, Record, Result, find, keep, key_of, records
from gacer_tune.targets import device_document

if TYPE_CHECKING:
    from gacer_tune.preparing import Prepared
    from gacer_tune.settings import Settings

MOST_OFFERED = 4
MOST_TRIALS = 8
MOST_READ = 100  # records that are looked at for a place to start from
MOST_CHUNKS = 64  # for each lane; a search proposes two
# Every other way of searching is there to be compared at equal budget: an answer known beforehand would decide that.
STRATEGY = "evolve"

_log = logging.getLogger(__name__)


def offered(settings: Settings, prepared: Prepared) -> tuple[Schedule, ...]:
    """Schedules of the cache for this workload, at most MOST_OFFERED: the one that was found for exactly this, then
    those of this machine, then those for this objective and as many lanes; the latest of equals first.

    What was found for another batch, machine or number of lanes is a place to start from, with its runners-up. Nothing
    is believed: all are fitted to this workload, and the search measures them. What does not fit is dropped, with one
    line in the log. Only for searches with STRATEGY over the whole space.
    """
    if settings.strategy != STRATEGY or settings.only is not None:
        return ()
    workload, objective, lanes = prepared.workload, settings.objective, len(prepared.cpus)
    here, gpu = host_fingerprint(), gpu_text(settings, workload)
    exact = find(prepared.cache, key_of(workload, objective, lanes, here, gpu))
    others = [record for _, record in records(prepared.cache, MOST_READ) if _related(record, workload)]
    others = [record for record in others if exact is None or record.key != exact.key]
    others.sort(
        key=lambda record: (
            (record.fingerprint.key(), record.gpu) != (here.key(), gpu),
            (record.objective, record.schedule.lanes) != (objective, lanes),
        )
    )
    found = _fitting(exact, others[:MOST_OFFERED], prepared)
    if not settings.shares:  # what has them would spread them
        found = [replace(schedule, shares=()) for schedule in found]
    return tuple(dict.fromkeys(found))


def gpu_text(settings: Settings, workload: Workload) -> str:
    """The GPU, also a simulated one, with the precision of the kernels; of the target cpu only what is not float32."""
    if workload.target == "cpu":
        return BFLOAT16 if settings.chosen_precision == "bf16" else ""
    return canonical_json({**device_document(workload, settings.simulate), "precision": settings.chosen_precision})


def _fitting(exact: Record | None, others: Sequence[Record], prepared: Prepared) -> list[Schedule]:
    """Schedules of the records as they fit, each once."""
    workload, profile, lanes = prepared.workload, prepared.profile, len(prepared.cpus)
    found: dict[Schedule, None] = {}
    for record in (*([exact] if exact else []), *others):
        try:
            found |= dict.fromkeys(_fitted_all(record, workload, profile, lanes, record is exact))
        except ValueError as error:
            text = f"cached schedule of {', '.join(record.tenants)} dropped, it does not fit: {error}"
            # Names in a record may be anybody's: none may command a terminal.
            _log.warning("%s", "".join(letter if letter.isprintable() else "?" for letter in text))
    return list(found)[:MOST_OFFERED]


def _related(record: Record, workload: Workload) -> bool:
    """The same tenants by name, or the same ops under other names."""
    names = tuple(tenant.name for tenant in workload.tenants)
    return record.workload.target == workload.target and (
        record.tenants == names or _structure(record.workload) == _structure(workload)
    )


def _fitted_all(record: Record, workload: Workload, profile: Profile, lanes: int, exact: bool) -> Iterator[Schedule]:
    yield fitted(record.schedule, record.workload, workload, profile, lanes)
    for trial in () if exact else record.trials:
        yield fitted(trial.schedule, record.workload, workload, profile, lanes)


def fitted(schedule: Schedule, theirs: Workload, ours: Workload, profile: Profile, lanes: int) -> Schedule:
    """The same decisions for another workload with as many kernels in each op, legal there.

    A variant is the same compiled function where ours has it, else the one that is fastest here. Raises ValueError for
    other ops and for more lanes than there are.
    """
    if len(theirs.tenants) != len(ours.tenants):
        raise ValueError(f"{len(theirs.tenants)} tenants, there are {len(ours.tenants)}")
    for one, other in zip(theirs.tenants, ours.tenants, strict=True):
        if [len(op.kernels) for op in one.ops] != [len(op.kernels) for op in other.ops]:
            raise ValueError(f"{other.name}: made for {_size(one)}, it has {_size(other)}")
    if schedule.lanes > lanes:
        raise ValueError(f"{schedule.lanes} lanes, there are {lanes}")
    if (chunks := max((max(row, default=0) for row in schedule.chunks), default=0)) > MOST_CHUNKS * lanes:
        raise ValueError(f"{chunks} chunks of an op, at most {MOST_CHUNKS * lanes}")
    variants = tuple(
        tuple(
            _variant(theirs.tenants[t].kernels[k].variants[v].function, kernel, ours, profile, (t, k, lanes))
            for k, (kernel, v) in enumerate(zip(tenant.kernels, schedule.variants[t], strict=True))
        )
        for t, tenant in enumerate(ours.tenants)
    )
    found = normal(ours, replace(schedule, lanes=lanes, variants=variants))
    lower(ours, found)
    return found


def _variant(function: str, kernel: Kernel, ours: Workload, profile: Profile, where: tuple[int, int, int]) -> int:
    names = [variant.function for variant in kernel.variants]
    tenant, number, lanes = where
    return names.index(function) if function in names else best_variant(ours, profile, tenant, number, lanes)


def _structure(workload: Workload) -> list[list[tuple[str, int]]]:
    return [[(op.kind, len(op.kernels)) for op in tenant.ops] for tenant in workload.tenants]


def _size(tenant: Tenant) -> str:
    return f"{len(tenant.ops)} ops of {len(tenant.kernels)} kernels"


def remember(settings: Settings, prepared: Prepared, outcome: Outcome, trials: Sequence[Trial]) -> None:
    """Keep a finished search in the cache. That it cannot be written is no reason to lose the artifact: one line."""
    record = Record(
        workload=prepared.workload,
        profile=prepared.profile,
        schedule=outcome.schedule,
        trials=_runners_up(prepared.workload, trials, outcome.schedule),
        objective=settings.objective,
        fingerprint=host_fingerprint(),
        result=Result(
            outcome.baseline, outcome.baseline_s, outcome.written_s,
            outcome.p_value, outcome.accepted, len(trials),
        ),
        made_s=time.time(),
        gpu=gpu_text(settings, prepared.workload),
        profiled_by=profile_code(),
    )  # fmt: skip
    try:
        keep(prepared.cache, record)
    except UserError as error:
        _log.warning("the schedule was not kept for later runs: %s", error)


def _runners_up(workload: Workload, trials: Sequence[Trial], best: Schedule) -> tuple[Trial, ...]:
    """The fastest other schedules, each once, without the baselines, which every search measures anyway."""
    fastest = finalists(trials, Objective(workload), MOST_TRIALS + 1)
    return tuple(trial for trial in fastest if trial.schedule != best)[:MOST_TRIALS]
