"""tune(): from settings to a published artifact."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gacer_tune import checking
from gacer_tune.devices.bench import SEED
from gacer_tune.devices.child import ChildDevice
from gacer_tune.emitting import Emission, alone, emit
from gacer_tune.errors import UserError
from gacer_tune.events import Event, Listen
from gacer_tune.preparing import Prepared, lanes_of, limits_for, machine_here, prepare, read_models
from gacer_tune.search.acceptance import Outcome, accept, finalists
from gacer_tune.search.objective import Objective, ranked
from gacer_tune.search.seeds import BASELINES, baselines
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.search.tune import TuneOptions
from gacer_tune.search.tune import tune as search
from gacer_tune.store.journal import Journal
from gacer_tune.store.publish import require_writable
from gacer_tune.tenants import assemble

if TYPE_CHECKING:
    from gacer_tune.settings import Settings

JOURNAL = "journal.jsonl"
PAIRS = 30
ROW_RUNS = 15


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds until a tenant (or, in the row `together`, all of them) is done."""

    name: str
    sequential_s: float
    lane_per_tenant_s: float
    tuned_s: float


@dataclass(frozen=True, slots=True)
class Summary:
    """baseline_s, best_s: medians over the interleaved pairs that decided; origin: which schedule was emitted."""

    artifact: Path
    baseline: str
    baseline_s: float
    best_s: float
    speedup: float
    p_value: float
    accepted: bool
    origin: str
    trials: int
    failed_trials: int
    strategy: str
    seconds_spent: float
    trials_per_minute: float
    rows: tuple[Row, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do."""

    tenants: int
    ops: int
    kernels: int
    functions_to_compile: int
    lanes: int
    budget_s: float


def plan_dry(settings: Settings, listen: Listen) -> DryRun:
    """Read and lower the models and count; compile and measure nothing."""
    from gacer_tune.kernels.build import key
    from gacer_tune.store.cache import Cache

    cpus, machine = lanes_of(settings), machine_here()
    compiled = assemble(read_models(settings, machine, listen), machine)
    cache = Cache() if settings.cache is None else Cache(settings.cache)
    tenants = compiled.workload.tenants
    return DryRun(
        tenants=len(tenants),
        ops=sum(len(tenant.ops) for tenant in tenants),
        kernels=sum(len(tenant.kernels) for tenant in tenants),
        functions_to_compile=sum(cache.get(key(name)) is None for name in compiled.sources),
        lanes=len(cpus),
        budget_s=settings.budget_s,
    )


def tune(settings: Settings, listen: Listen, stop: threading.Event | None = None) -> Summary:
    """Tune, publish the artifact and say what came out.

    When `stop` is set the trial in flight is finished and the best so far is published. Raises UserError for what the
    user can mend; no artifact is changed then.
    """
    began = time.monotonic()
    require_writable(settings.out)
    with ExitStack() as stack:
        prepared = prepare(settings, stack, listen)
        device = stack.enter_context(ChildDevice(prepared.folder, prepared.cpus))
        hertz = check(settings, prepared, device)
        found = run_search(settings, prepared, device, listen, stop or threading.Event())
        listen(Event("accept", f"{PAIRS} interleaved pairs"))
        objective = Objective(prepared.workload, settings.objective)
        outcome = decide(device, objective, found)
        rows = measure_rows(prepared, device, outcome)
        summary = summarize(settings, outcome, rows, found, time.monotonic() - began)
        schedules = {"best": outcome.schedule, **baselines(prepared.workload, prepared.profile, device.lanes)}
        schedules.update(alone(prepared, device.lanes))
        figures = {**_plain(asdict(summary)), "objective": settings.objective, "reason": outcome.reason}
        traces = {name: device.trace(schedules[name]) for name in ("best", outcome.baseline)}
        paths = tuple(tenant.path for tenant in settings.tenants)
        emit(settings.out, prepared, Emission(schedules, figures, found.trials, traces, paths), hertz, listen)
    return summary


@dataclass(frozen=True, slots=True)
class Found:
    """seconds: of this search; fresh: trials that were measured now, not read from the journal."""

    trials: tuple[Trial, ...]
    fresh: int
    seconds: float


def check(settings: Settings, prepared: Prepared, device: ChildDevice) -> float:
    """Compare the sequential plan with ONNX Runtime before anything is built on it; return cycles per second.

    Every schedule has the sequential plan's bits, so this vouches for all of them. A difference is our bug.
    """
    from safetensors.numpy import load_file

    path = prepared.folder / "outputs.safetensors"
    hertz = device.outputs(path)
    found = checking.against_onnxruntime(settings, prepared.workload, load_file(str(path)), SEED)
    for difference in found or ():
        if not difference.tolerable:
            raise RuntimeError(
                f"{difference.tenant}: output {difference.output} differs from ONNX Runtime by {difference.error:.2g} "
                f"of its largest value, allowed is {checking.TOLERANCE:g}"
            )
    return hertz


def run_search(
    settings: Settings, prepared: Prepared, device: ChildDevice, listen: Listen, stop: threading.Event
) -> Found:
    """Search until budget, trials or `stop`; every trial is in the journal before the next one starts."""
    journal = Journal(settings.out / JOURNAL)
    history = read_history(journal, prepared.workload.key) if settings.resume else _start_afresh(journal)
    options = TuneOptions(
        settings.budget_s, settings.trials or TuneOptions().trials, settings.strategy, settings.objective,
        settings.seed, settings.only,
    )  # fmt: skip
    trials, began = list(history), time.monotonic()
    objective = Objective(prepared.workload, settings.objective)
    for trial in search(prepared.workload, device, prepared.profile, options, history):
        journal.append({"workload": prepared.workload.key, "trial": trial.to_json()})
        trials.append(trial)
        spent = time.monotonic() - began
        _require_budget(trials, history, spent, settings.budget_s)
        if isinstance(trial.result, Timing):
            device.limits = limits_for(trial.result.median_s if len(trials) == 1 else _slowest(trials))
        listen(_progress(trials, objective, settings, spent))
        if stop.is_set() and _has_baselines(trials):
            break
    return Found(tuple(trials), len(trials) - len(history), time.monotonic() - began)


def _slowest(trials: Sequence[Trial]) -> float:
    return max(trial.result.median_s for trial in trials if isinstance(trial.result, Timing))


def _has_baselines(trials: Sequence[Trial]) -> bool:
    return {trial.origin for trial in trials}.issuperset(BASELINES)


def _require_budget(trials: Sequence[Trial], history: Sequence[Trial], spent: float, budget_s: float) -> None:
    if spent > budget_s and len(trials) - len(history) < len(BASELINES) and not _has_baselines(trials):
        raise UserError(f"budget {budget_s:g} s: too small, {len(trials)} of the baselines alone took {spent:.1f} s")


def read_history(journal: Journal, key: str) -> list[Trial]:
    """Trials of this workload in the journal; damaged lines and other workloads are passed over."""
    records, _ = journal.read()
    return [Trial.from_json(record["trial"]) for record in records if record.get("workload") == key]


def _start_afresh(journal: Journal) -> list[Trial]:
    """Set an earlier journal aside, so that nothing is lost and nothing is mixed."""
    if journal.path.exists():
        journal.path.replace(journal.path.with_suffix(".jsonl.old"))
    return []


def _progress(trials: Sequence[Trial], objective: Objective, settings: Settings, spent: float) -> Event:
    standing = ranked(trials, objective)
    reference = ranked([trial for trial in trials if trial.origin in BASELINES], objective)
    return Event(
        "search",
        trials[-1].origin,
        len(trials),
        settings.trials or 0,
        trials[-1],
        standing[0][0] if standing else 0.0,
        reference[0][0] if reference else 0.0,
        sum(isinstance(trial.result, Failure) for trial in trials),
        max(0.0, settings.budget_s - spent),
    )


def decide(device: ChildDevice, objective: Objective, found: Found) -> Outcome:
    reference = [trial for trial in found.trials if trial.origin in BASELINES]
    return accept(device, objective, finalists(found.trials, objective), reference, PAIRS)


def measure_rows(prepared: Prepared, device: ChildDevice, outcome: Outcome) -> tuple[Row, ...]:
    """Measure the two baselines that users know and the emitted schedule once more, tenant by tenant."""
    known = baselines(prepared.workload, prepared.profile, device.lanes)
    columns = [
        _completions(device.measure(schedule, ROW_RUNS))
        for schedule in (known["sequential"], known["lane_per_tenant"], outcome.schedule)
    ]
    names = [*(tenant.name for tenant in prepared.workload.tenants), "together"]
    return tuple(Row(name, *times) for name, *times in zip(names, *columns, strict=True))


def _completions(result: Timing | Failure) -> Iterator[float]:
    if isinstance(result, Failure):
        raise UserError(f"a schedule that ran before failed when it was measured again: {result.message}")
    yield from result.tenants_s
    yield result.median_s


def summarize(settings: Settings, outcome: Outcome, rows: tuple[Row, ...], found: Found, seconds: float) -> Summary:
    from gacer_tune.artifact import MODULE, REPORT, SCHEDULE, TRACE, TRIALS, WEIGHTS

    names = (MODULE, WEIGHTS, SCHEDULE, TRIALS, REPORT, TRACE, "manifest.json")
    return Summary(
        artifact=settings.out,
        baseline=outcome.baseline,
        baseline_s=outcome.baseline_s,
        best_s=outcome.best_s if outcome.accepted else outcome.baseline_s,
        speedup=outcome.speedup if outcome.accepted else 1.0,
        p_value=outcome.p_value,
        accepted=outcome.accepted,
        origin=outcome.origin,
        trials=len(found.trials),
        failed_trials=sum(isinstance(trial.result, Failure) for trial in found.trials),
        strategy=settings.strategy,
        seconds_spent=seconds,
        trials_per_minute=60 * found.fresh / found.seconds if found.seconds else 0.0,
        rows=rows,
        files=tuple(settings.out / name for name in names),
    )


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists: what JSON knows."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
