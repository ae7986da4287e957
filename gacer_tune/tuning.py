"""tune(): from settings to a published artifact."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gacer_tune import checking
from gacer_tune.completions import measure_front, typical_trace
from gacer_tune.deciding import effort_for, objective_for, settle, surroundings
from gacer_tune.devices.checked import SEED
from gacer_tune.devices.child import ChildDevice
from gacer_tune.events import Event, Listen
from gacer_tune.preparing import Prepared, limits_for, prepare
from gacer_tune.report.verdict import Choice, Figures, Gain
from gacer_tune.search.anchored import Anchored
from gacer_tune.search.objective import Objective, ranked
from gacer_tune.search.seeds import BASELINES, baselines
from gacer_tune.search.stopping import stalled
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.sizing import keep, sized
from gacer_tune.store.journal import JOURNAL, Journal
from gacer_tune.store.publish import require_writable
from gacer_tune.targets import AnyDevice, open_device

if TYPE_CHECKING:
    from gacer_tune.search.acceptance import Outcome
    from gacer_tune.search.sizes import Sized
    from gacer_tune.settings import Settings

# They import scipy and xgboost, which takes long: done while the device opens.
SEARCHING = ("gacer_tune.search.tune", "gacer_tune.remembering", "gacer_tune.learning.starting", "gacer_tune.emitting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Figures):
    """The figures of a run that has just ended, and the files that it wrote. started: what earlier searches had left
    to begin with, in words."""

    artifact: Path
    trials_per_minute: float
    started: str
    files: tuple[Path, ...]


def tune(settings: Settings, listen: Listen, stop: threading.Event | None = None) -> Summary:
    """Tune, publish the artifact and say what came out.

    When `stop` is set the trial in flight is finished and the best so far is published. Raises UserError for what the
    user can mend; no artifact is changed then.
    """
    began, stop = time.monotonic(), stop or threading.Event()
    require_writable(settings.out)
    with ExitStack() as stack:
        settings, sizes, ready = sized(settings, listen, stop, stack)
        prepared, device = _prepared(settings, ready, stack, listen, stop)
        hertz = check(settings, prepared, device)
        from gacer_tune.emitting import Emission, alone, emit
        from gacer_tune.learning.starting import keep_learned
        from gacer_tune.remembering import remember

        history = _begin(settings, prepared, sizes)
        found = run_search(settings, prepared, device, history, listen, stop)
        effort = effort_for(settings, found.trials)
        listen(Event("accept", f"{effort.pairs} interleaved pairs"))
        around = surroundings(prepared, found.trials, found.fresh)
        calm = Anchored(device, around.anchor)
        outcome, rows = settle(settings, prepared, (device, calm), found.trials, around)
        points = measure_front(calm, found.trials, outcome.schedule, effort.passes)
        summary = summarize(settings, outcome, (rows, tuple(points.values())), found, time.monotonic() - began)
        summary = replace(summary, sizes=sizes)
        schedules = {"best": outcome.schedule, **baselines(prepared.workload, prepared.profile, device.lanes)}
        schedules |= alone(prepared, device.lanes) | {point.name: schedule for schedule, point in points.items()}
        figures = {**json.loads(json.dumps(asdict(summary), default=str)), "reason": outcome.reason}
        shown = {name: schedules[name] for name in ("best", outcome.baseline)}
        recorded = {schedule: typical_trace(device, schedule) for schedule in set(shown.values())}
        traces = {name: recorded[schedule] for name, schedule in shown.items()}
        paths = tuple(tenant.path for tenant in settings.tenants)
        emission = Emission(schedules, figures, found.trials, traces, paths, settings.simulate)
        emit(settings.out, prepared, emission, hertz, listen)
        remember(settings, prepared, outcome, found.trials)
        keep_learned(prepared, found.trials)
    return summary


def _prepared(
    settings: Settings, ready: Prepared | None, stack: ExitStack, listen: Listen, stop: threading.Event
) -> tuple[Prepared, AnyDevice]:
    """What the search starts from, unless it is ready, and the device that runs its schedules, until `stack` closes."""
    early = stack.enter_context(ChildDevice(Path(), ()))
    if settings.simulate is None:
        early.start()  # it imports what it needs while the models are read
    prepared = ready or prepare(settings, stack, listen, stop)
    device = open_device(settings, prepared.workload, prepared.compiled.sources, prepared.folder, prepared.cpus)
    if isinstance(device, ChildDevice):
        device.take(early)
    stack.callback(device.close)
    return prepared, device


@dataclass(frozen=True, slots=True)
class Found:
    """seconds: of this search; fresh: trials measured now, not read from the journal; stopped: why it ended; started:
    from what it did, of all that earlier searches had left."""

    trials: tuple[Trial, ...]
    fresh: int
    seconds: float
    stopped: str
    started: str


def check(settings: Settings, prepared: Prepared, device: AnyDevice) -> float:
    """Compare the sequential plan with ONNX Runtime before anything is built on it; return cycles per second.

    Every schedule has the sequential plan's bits, so this vouches for all of them.
    """
    from safetensors.numpy import load_file

    path = prepared.folder / "outputs.safetensors"
    if not isinstance(device, ChildDevice):
        return device.outputs(path)
    device.open()  # which takes as long as what is done meanwhile
    expected = checking.expected_outputs(settings, prepared.workload, SEED, prepared.cache)
    for name in SEARCHING:
        import_module(name)
    hertz = device.outputs(path)
    if expected is not None:
        checking.require_agreement(settings, prepared.workload, load_file(str(path)), expected, prepared.cache)
    return hertz


def run_search(
    settings: Settings,
    prepared: Prepared,
    device: AnyDevice,
    history: Sequence[Trial],
    listen: Listen,
    stop: threading.Event,
) -> Found:
    """Search until budget, trials or `stop`; every trial is in the journal before the next one starts."""
    from gacer_tune.learning.starting import Learned, learned_before
    from gacer_tune.remembering import offered
    from gacer_tune.search import tune as searching

    journal = Journal(settings.out / JOURNAL)
    cached = offered(settings, prepared) if settings.warm_start else ()
    learned = learned_before(prepared) if settings.warm_start else Learned()
    options = searching.TuneOptions(
        settings.budget_s, settings.trials or searching.TuneOptions().trials, settings.strategy, settings.objective,
        settings.seed, settings.only, cached, learned.model, anchored=settings.target == "cpu", shares=settings.shares,
        steal=settings.target == "cpu" and settings.simulate is None,
    )  # fmt: skip
    trials, began = list(history), time.monotonic()
    objective, stopped = objective_for(settings, prepared), ""
    for trial in searching.tune(prepared.workload, device, prepared.profile, options, history):
        journal.append({"workload": prepared.workload.key, "trial": trial.to_json()})
        trials.append(trial)
        if isinstance(trial.result, Timing):
            device.limits = limits_for(max(t.result.median_s for t in trials if isinstance(t.result, Timing)))
        listen(_progress(trials, objective, settings, time.monotonic() - began))
        if _has_baselines(trials) and (stopped := _enough(settings, stop, trials, objective)):
            break
    spent = time.monotonic() - began
    starts = (f"{len(cached)} cached schedule{'s' * (len(cached) > 1)}" if cached else "", str(learned))
    return Found(
        tuple(trials), len(trials) - len(history), spent, stopped or _end(settings, trials, spent),
        " and ".join(filter(None, starts)),
    )  # fmt: skip


def _enough(settings: Settings, stop: threading.Event, trials: Sequence[Trial], objective: Objective) -> str:
    """Why to end the search now, or nothing."""
    if stop.is_set():
        return "interrupted"
    return (stalled(trials, objective) or "") if settings.early_stop else ""


def _end(settings: Settings, trials: Sequence[Trial], spent: float) -> str:
    """Why a search ended by itself."""
    if settings.trials is not None and len(trials) >= settings.trials:
        return f"all {settings.trials} trials are used up"
    if spent < settings.budget_s:
        return "there is no other schedule to try"
    only_baselines = trials[-1].origin in BASELINES  # which are measured before all others
    return "the time is used up" + f", the baselines alone took {spent:.1f} s" * only_baselines


def _has_baselines(trials: Sequence[Trial]) -> bool:
    return {trial.origin for trial in trials}.issuperset(BASELINES)


def read_history(journal: Journal, key: str) -> list[Trial]:
    """Trials of this workload in the journal; damaged lines and other workloads are passed over."""
    records, _ = journal.read()
    return [Trial.from_json(record["trial"]) for record in records if record.get("workload") == key]


def _begin(settings: Settings, prepared: Prepared, sizes: Sized | None) -> list[Trial]:
    """The trials that a resumed run goes on from. A journal that is not gone on with gets another name, so that nothing
    is lost and nothing is mixed."""
    journal = Journal(settings.out / JOURNAL)
    if not settings.resume:
        journal.set_aside()
    if sizes is not None:
        keep(journal, sizes)
    return read_history(journal, prepared.workload.key)


def _progress(trials: Sequence[Trial], objective: Objective, settings: Settings, spent: float) -> Event:
    standing = ranked(trials, objective)
    reference = ranked([trial for trial in trials if trial.origin in BASELINES], objective)
    return Event(
        "search", trials[-1].origin, len(trials), settings.trials or 0, trials[-1],
        standing[0][0] if standing else 0.0, reference[0][0] if reference else 0.0,
        sum(isinstance(trial.result, Failure) for trial in trials), max(0.0, settings.budget_s - spent),
    )  # fmt: skip


def summarize(
    settings: Settings,
    outcome: Outcome,
    completions: tuple[tuple[Gain, ...], tuple[Choice, ...]],
    found: Found,
    seconds: float,
) -> Summary:
    from gacer_tune.artifact import MODULE, REPORT, SCHEDULE, TRACE, TRIALS, WEIGHTS

    runnable = (MODULE, WEIGHTS) if settings.simulate is None else ()
    names = (*runnable, SCHEDULE, TRIALS, REPORT, TRACE, "manifest.json")
    return Summary(
        artifact=settings.out,
        baseline=outcome.baseline,
        baseline_s=outcome.baseline_s,
        best_s=outcome.written_s,
        speedup=outcome.speedup if outcome.accepted else 1.0,
        p_value=outcome.p_value,
        accepted=outcome.accepted,
        origin=outcome.origin,
        trials=len(found.trials),
        failed_trials=sum(isinstance(trial.result, Failure) for trial in found.trials),
        strategy=settings.strategy,
        seconds_spent=seconds,
        objective=settings.objective,
        trials_per_minute=60 * found.fresh / found.seconds if found.seconds else 0.0,
        rows=completions[0],
        front=completions[1],
        stopped=found.stopped,
        started=found.started,
        interval_s=outcome.interval_s,
        refused=outcome.refused,
        files=tuple(settings.out / name for name in names),
    )
