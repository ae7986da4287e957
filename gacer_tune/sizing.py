"""Finds batch and instances of the models that have a range of them, before schedules are searched for those sizes."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

from gacer_tune.errors import UserError
from gacer_tune.events import Event, Listen
from gacer_tune.instances import Group, base_name, groups, resized
from gacer_tune.ir.schedule import Schedule
from gacer_tune.preparing import Prepared, prepare
from gacer_tune.search.seeds import alone_s, baselines
from gacer_tune.search.sizes import Probe, Sized, Sizes, climb, sizes_text
from gacer_tune.search.trial import Failure, Timing, merged
from gacer_tune.store.journal import Journal
from gacer_tune.targets import AnyDevice, open_device

if TYPE_CHECKING:
    from gacer_tune.settings import Settings

TURNS = 5  # of the sizes so far and of others, one after the other: machines drift
RUNS = 3  # in each turn


def sized(settings: Settings, journal: Journal, listen: Listen, stop: threading.Event) -> tuple[Settings, Sized | None]:
    """The settings with the sizes that do the most work in a second, and how they were found; None without ranges.

    Work is counted in seconds that an input takes alone on all lanes, by the tenants' weights. Sizes with which the
    95th percentile of a tenant's completions misses its SLO may not be. Ends after `budget_s` seconds of measuring or
    when `stop` is set, too, with the best until then. What was found is in the journal, and not looked for again where
    it is. Raises UserError like `prepare`.
    """
    among = groups(settings.tenants)
    if not among:
        return settings, None
    found = _known(journal, among)
    if found is None:
        with _Prober(settings, among, listen) as prober:
            prober.begin()
            chosen = climb(
                _least(among), tuple(group.most for group in among), prober.gain,
                lambda: stop.is_set() or prober.spent_s >= settings.budget_s,
            )  # fmt: skip
        found = Sized(tuple(group.name for group in among), tuple(prober.probes), chosen)
        journal.append({"sizes": asdict(found), "ranges": _ranges(among)})
    return _with_sizes(settings, among, found.chosen), found


def _known(journal: Journal, among: Sequence[Group]) -> Sized | None:
    """What was found for these models and ranges before."""
    records = [r for r in journal.read()[0] if "sizes" in r and r.get("ranges") == _ranges(among)]
    return Sized.from_json(records[-1]["sizes"]) if records else None


def _ranges(among: Sequence[Group]) -> list[list[Any]]:
    return [[group.name, *astuple(group.least), *astuple(group.most)] for group in among]


def _least(among: Sequence[Group]) -> Sizes:
    return tuple(group.least for group in among)


def _with_sizes(settings: Settings, among: Sequence[Group], sizes: Sizes) -> Settings:
    return settings.model_copy(update={"tenants": resized(settings.tenants, among, sizes)})


@dataclass
class _Open:
    """A workload of certain sizes that can be run. work: of one round."""

    stack: ExitStack
    prepared: Prepared
    device: AnyDevice
    work: float
    plan: str
    schedule: Schedule
    timing: Timing

    def slo_missed(self) -> str:
        """Which tenant misses its SLO, and by what; nothing if none does."""
        for tenant, tail_s in zip(self.prepared.workload.tenants, self.timing.tails_s, strict=True):
            if 0 < tenant.slo_s < tail_s:
                return f"95 % of {tenant.name} in {tail_s * 1e3:.3g} ms, its SLO is {tenant.slo_s * 1e3:.3g} ms"
        return ""


class _Prober:
    """Measures sizes beside those that are the best so far, which stay open meanwhile."""

    def __init__(self, settings: Settings, among: Sequence[Group], listen: Listen) -> None:
        self.settings, self.among, self.listen = settings, among, listen
        self.probes: list[Probe] = []
        self._open: dict[Sizes, _Open] = {}
        self._gains: dict[Sizes, float] = {}
        self._alone_s: dict[str, float] = {}  # model -> of one input
        self.spent_s = 0.0  # without what compiling took

    def __enter__(self) -> _Prober:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close(())

    def begin(self) -> None:
        """Measure the least sizes; all that is asked later is held against them."""
        least = _least(self.among)
        opened = self._opened(least)
        if isinstance(opened, Failure):
            raise UserError(f"sizes: the least ones cannot be run: {opened.kind}: {opened.message}")
        self._note(least, 1.0, opened, opened.slo_missed())

    def gain(self, now: Sizes, other: Sizes) -> float:
        """See gacer_tune.search.sizes.climb."""
        self._close((now,))
        before, opened = self._open[now], self._opened(other)
        if isinstance(opened, Failure):
            self.probes.append(Probe(other, 0.0, "", 0.0, f"{opened.kind}: {opened.message}"))
            return 0.0
        began = time.monotonic()
        ratio = _in_turns(before, opened) * opened.work / before.work
        self.spent_s += time.monotonic() - began
        missed = opened.slo_missed()
        self._note(other, 0.0 if missed else self._gains[now] * ratio, opened, missed)
        return 0.0 if missed else ratio

    def _note(self, sizes: Sizes, gain: float, opened: _Open, why: str) -> None:
        self._gains[sizes] = gain
        self.probes.append(Probe(sizes, gain, opened.plan, opened.timing.median_s, why))

    def _opened(self, sizes: Sizes) -> _Open | Failure:
        """Compile, and measure the usual ways: the fastest of them stands for these sizes."""
        self.listen(Event("size", sizes_text([group.name for group in self.among], sizes)))
        with ExitStack() as stack:
            settings = _with_sizes(self.settings, self.among, sizes)
            prepared = prepare(settings, stack, self.listen)
            device = open_device(settings, prepared.workload, prepared.compiled.sources, prepared.folder, prepared.cpus)
            stack.callback(device.close)
            began = time.monotonic()
            found = _fastest(prepared, device)
            self.spent_s += time.monotonic() - began
            if isinstance(found, Failure):
                return found
            name, schedule, timing = found
            work = self._work(prepared)
            self._open[sizes] = _Open(stack.pop_all(), prepared, device, work, name, schedule, timing)
        return self._open[sizes]

    def _work(self, prepared: Prepared) -> float:
        """What all tenants have to do in a round. Tenants of one model differ by their batch only."""
        tenants = prepared.workload.tenants
        if not self._alone_s:
            alone = alone_s(prepared.workload, prepared.profile, len(prepared.cpus))
            self._alone_s = {base_name(t.name): s / t.batch for t, s in zip(tenants, alone, strict=True)}
        return sum(tenant.weight * tenant.batch * self._alone_s[base_name(tenant.name)] for tenant in tenants)

    def _close(self, kept: Sequence[Sizes]) -> None:
        for sizes in [sizes for sizes in self._open if sizes not in kept]:
            self._open.pop(sizes).stack.close()


def _fastest(prepared: Prepared, device: AnyDevice) -> tuple[str, Schedule, Timing] | Failure:
    """The usual way of running these tenants that is the fastest, with its runs; the failure where all fail."""
    found: list[tuple[str, Schedule, Timing]] = []
    for name, schedule in baselines(prepared.workload, prepared.profile, device.lanes).items():
        timing = device.measure(schedule, RUNS)
        if isinstance(timing, Timing):
            found.append((name, schedule, timing))
        else:
            failure = timing
    return min(found, key=lambda one: one[2].median_s) if found else failure


def _in_turns(before: _Open, after: _Open) -> float:
    """How many times as long a round of `before` takes as one of `after`, whose runs are added to those it has."""
    ratios = []
    for _ in range(TURNS):
        one, other = (opened.device.measure(opened.schedule, RUNS) for opened in (before, after))
        if isinstance(one, Timing) and isinstance(other, Timing):
            ratios.append(one.median_s / other.median_s)
            after.timing = merged(after.timing, other)
    return statistics.median(ratios) if ratios else 0.0
