"""Finds batch and instances of the models that have a range of them, before schedules are searched for those sizes."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gacer_tune.errors import UserError
from gacer_tune.events import Event, Listen
from gacer_tune.instances import Group, base_name, groups, resized
from gacer_tune.ir.schedule import Schedule
from gacer_tune.preparing import Prepared, prepare
from gacer_tune.search.seeds import baselines
from gacer_tune.search.sizes import Probe, Ranges, Sized, Sizes, climb, sizes_text
from gacer_tune.search.trial import Failure, Timing, merged
from gacer_tune.store.journal import JOURNAL, Journal
from gacer_tune.targets import AnyDevice, open_device

if TYPE_CHECKING:
    from gacer_tune.settings import Settings

TURNS = 5  # of the sizes so far and of others, one after the other: machines drift
RUNS = 3  # in each turn


def sized(
    settings: Settings, listen: Listen, stop: threading.Event, stack: ExitStack
) -> tuple[Settings, Sized | None, Prepared | None]:
    """The settings with the sizes of the highest rate, how they were found, which is None without ranges, and what was
    prepared for them, until `stack` closes; None where that is still to be done.

    The rate is the geometric mean, by weight, of the models' inputs a second: proportional fairness, so no model can
    gain less than others lose, and it does not matter how long an input takes. Sizes with which the
    95th percentile of a tenant's completions misses its SLO may not be. Ends after `budget_s` seconds of measuring or
    when `stop` is set, too, with the best until then. A run that is resumed keeps what `keep` has written. Raises
    UserError like `prepare`.
    """
    among = groups(settings.tenants)
    if not among:
        return settings, None, None
    names = tuple(group.name for group in among)
    least, most = tuple(group.least for group in among), tuple(group.most for group in among)
    found = _kept(Journal(settings.out / JOURNAL), (names, least, most)) if settings.resume else None
    ready = None
    if found is None:
        with _Prober(settings, among, listen) as prober:
            prober.begin(least)
            chosen = climb(
                least, most, prober.gain, lambda: stop.is_set() or prober.spent_s >= settings.budget_s
            )  # fmt: skip
            if settings.kernels == "own":
                ready = prober.given_away(chosen, stack)
        found = Sized(names, least, most, tuple(prober.probes), chosen)
    return _with_sizes(settings, among, found.chosen), found, ready


def keep(journal: Journal, found: Sized) -> None:
    """Write down what was found, unless it stands there."""
    if _kept(journal, found.ranges) != found:
        journal.append({"sizes": asdict(found)})


def _kept(journal: Journal, ranges: Ranges) -> Sized | None:
    """What was found last, if it was for these models and ranges."""
    records = [record["sizes"] for record in journal.read()[0] if "sizes" in record]
    found = Sized.from_json(records[-1]) if records else None
    return found if found is not None and found.ranges == ranges else None


def _with_sizes(settings: Settings, among: Sequence[Group], sizes: Sizes) -> Settings:
    return settings.model_copy(update={"tenants": resized(settings.tenants, among, sizes)})


@dataclass
class _Open:
    """A workload of certain sizes that can be run."""

    stack: ExitStack
    prepared: Prepared
    device: AnyDevice
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
        # Kernels that are searched for minutes are for the sizes that are chosen.
        self.settings = settings.model_copy(update={"kernels": "own"})
        self.among, self.listen = among, listen
        self.probes: list[Probe] = []
        self._open: dict[Sizes, _Open] = {}
        self.spent_s = 0.0  # without what compiling took

    def __enter__(self) -> _Prober:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close(())

    def begin(self, least: Sizes) -> None:
        """Measure the least sizes; all that is asked later is held against them."""
        opened = self._opened(least)
        if isinstance(opened, Failure):
            raise UserError(f"sizes: the least ones cannot be run: {opened.kind}: {opened.message}")
        self.probes.append(Probe(least, 1.0, opened.plan, opened.timing.median_s, opened.slo_missed()))

    def gain(self, now: Sizes, other: Sizes) -> float:
        """See gacer_tune.search.sizes.climb."""
        self._close((now,))
        try:
            before, opened = self._open[now], self._opened(other)
        except UserError as error:  # a model that has a batch written into it, or not enough memory
            return self._refused(other, str(error))
        if isinstance(opened, Failure):
            return self._refused(other, f"{opened.kind}: {opened.message}")
        began = time.monotonic()
        faster = _in_turns(before, opened)
        self.spent_s += time.monotonic() - began
        missed = opened.slo_missed()
        ratio = 0.0 if missed else faster * self._inputs(other) / self._inputs(now)
        last = next(probe for probe in self.probes if probe.sizes == now)
        round_s = last.round_s / faster if faster else 0.0  # as if the machine were what it was at first
        self.probes.append(Probe(other, last.gain * ratio, opened.plan, round_s, missed))
        return ratio

    def given_away(self, sizes: Sizes, stack: ExitStack) -> Prepared:
        """What was prepared for the sizes that were held last against others, from now on until `stack` closes."""
        opened = self._open.pop(sizes)
        opened.device.close()
        stack.push(opened.stack)
        return opened.prepared

    def _refused(self, sizes: Sizes, why: str) -> float:
        self.probes.append(Probe(sizes, 0.0, "", 0.0, why))
        return 0.0

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
            self._open[sizes] = _Open(stack.pop_all(), prepared, device, name, schedule, timing)
        return self._open[sizes]

    def _inputs(self, sizes: Sizes) -> float:
        """The geometric mean of what the models get through in a round, but for what is the same for all sizes."""
        weights = {base_name(tenant.name): tenant.weight for tenant in self.settings.tenants}
        total = sum(weights.values())
        pairs = zip(self.among, sizes, strict=True)
        return math.prod(math.pow(s.batch * s.instances, weights[group.name] / total) for group, s in pairs)

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
