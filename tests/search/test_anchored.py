"""A machine whose speed is not steady, made of numbers: what is found there must hold where nothing else runs."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from gacer_tune.ir.schedule import Schedule, lane_per_tenant, sequential
from gacer_tune.ir.workload import Workload
from gacer_tune.search.acceptance import accept
from gacer_tune.search.afresh import Effort
from gacer_tune.search.anchored import Anchored, anchor_of, quiet_s
from gacer_tune.search.beside import TELLING, Anchor, hopeless, paired, taking_turns
from gacer_tune.search.device import Pairs
from gacer_tune.search.duel import Surroundings
from gacer_tune.search.objective import Objective, ranked
from gacer_tune.search.seeds import BASELINES
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from tests.support.workloads import chain, random_profile

MIX = Workload(tuple(chain(name, (2, 4, 8, 3), variants=2) for name in "ab"))
PROFILE = random_profile(random.Random(7), MIX)
QUIET = SimulatedDevice(MIX, PROFILE, 2, contention=0.3)
MAKESPAN = Objective(MIX)


def wide(schedule: Schedule) -> bool:
    """Whether a tenant uses both lanes: the lane that waits for the other one suffers where a core is shared."""
    return any(len(lanes) > 1 for cluster in schedule.clusters for lanes in cluster.lanes)


@dataclass
class Shared:
    """QUIET with something else that comes and goes: `period` runs without it, as many with it. It makes every run
    `drift` times as long, and those that spread a tenant over both lanes `wait` times longer still. A pause lets it go.
    """

    period: int
    drift: float = 1.0
    wait: float = 1.0
    runs: int = 0
    lanes: int = 2
    pauses: list[float] = field(default_factory=list)

    def _factor(self, schedule: Schedule) -> float:
        self.runs += 1
        if self.runs // self.period % 2 == 0:
            return 1.0
        return self.drift * (self.wait if wide(schedule) else 1.0)

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        true = QUIET.measure(schedule, 1)
        assert isinstance(true, Timing)
        seconds: list[float] = []
        while len(seconds) < repeats and not (seconds and seconds[-1] > give_up_s):
            seconds.append(true.median_s * self._factor(schedule))
        return Timing.of_runs(seconds, [[t * s / true.median_s for t in true.tenants_s] for s in seconds])

    def beside(self, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float = math.inf) -> Timing:
        """As a measuring child does it: a run for the outputs, then pairs."""
        self._factor(schedule)
        base, own = QUIET.measure(anchor[0], 1), QUIET.measure(schedule, 1)
        assert isinstance(base, Timing) and isinstance(own, Timing)

        def run() -> tuple[float, list[float]]:
            factor = self._factor(schedule)
            return own.median_s * factor, [done * factor for done in own.tenants_s]

        return paired(lambda: base.median_s * self._factor(anchor[0]), run, pairs, anchor[1], give_up_s)

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        both = [true_s(schedule) for schedule in (a, b)]
        return tuple((both[0] * self._factor(a), both[1] * self._factor(b)) for _ in range(pairs))

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.runs += self.period // 4

    def close(self) -> None:
        """Nothing to give back."""


def true_s(schedule: Schedule) -> float:
    timing = QUIET.measure(schedule, 1)
    assert isinstance(timing, Timing)
    return timing.median_s


def searched(device: Shared, anchored: bool, monkeypatch: pytest.MonkeyPatch, trials: int = 60) -> list[Trial]:
    monkeypatch.setattr("time.sleep", device.pause)
    monkeypatch.setattr("gacer_tune.search.anchored.PATIENCE_S", math.inf)
    options = TuneOptions(1e9, trials, "evolve", anchored=anchored)
    return list(tune(MIX, device, PROFILE, options, clock=lambda: 0.0))


def best_s(trials: list[Trial]) -> float:
    """What the schedule that looks best takes in quiet moments."""
    return true_s(ranked(trials, MAKESPAN)[0][1].schedule)


BASE_S = min(true_s(trial.schedule) for trial in tune(MIX, QUIET, PROFILE, TuneOptions(1e9, 3)))
PERIODS = (37, 90, 250)


def order_errors(trials: list[Trial]) -> float:
    """Share of the pairs of trials whose true order is not the measured one."""
    pairs = [(t.result.median_s, true_s(t.schedule)) for t in trials if isinstance(t.result, Timing)]
    both = [(a, b) for n, a in enumerate(pairs) for b in pairs[:n] if not math.isclose(a[1], b[1])]
    return statistics.mean((a[0] < b[0]) != (a[1] < b[1]) for a, b in both)


@pytest.mark.parametrize("period", PERIODS)
def test_drift_does_not_change_the_order(period: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs take twice as long for a while: what was measured then looks bad, unless held against the anchor."""
    plain, beside = (searched(Shared(period, 2.0), anchored, monkeypatch) for anchored in (False, True))
    assert order_errors(plain) > 0.05
    assert order_errors(beside) < 0.02


@pytest.mark.parametrize("period", PERIODS)
def test_what_suffers_least_from_others_is_not_taken_for_the_fastest(
    period: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With something else on a core, plans that wait for both lanes suffer: the slower ones look better."""
    plain, beside = (searched(Shared(period, 1.2, 2.0), anchored, monkeypatch) for anchored in (False, True))
    assert order_errors(beside) < 0.02 < order_errors(plain)
    assert best_s(beside) <= best_s(plain) * 1.001 and best_s(beside) < BASE_S


def test_what_is_accepted_holds_on_the_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last word falls while something else runs, what is slower in quiet would win."""
    slow = [s for s in (lane_per_tenant(MIX, 2), sequential(MIX, 1)) if not wide(s)]
    found = searched(Shared(90, 1.2, 2.0), True, monkeypatch, 3)
    worse = [Trial(schedule, QUIET.measure(schedule, 1), "evolve", 9) for schedule in slow if true_s(schedule) > BASE_S]
    assert worse
    reference = [trial for trial in found if wide(trial.schedule)]
    assert reference
    outcomes = []
    for known in (False, True):
        busy = Shared(10**9, 1.2, 2.5, runs=10**9)
        quiet = quiet_s(found)
        assert quiet is not None
        around = Surroundings((found[0].schedule, quiet) if known else None, pause=lambda _: None)
        outcomes.append(accept(busy, MAKESPAN, worse, reference, Effort(), around))
    assert outcomes[0].accepted and true_s(outcomes[0].schedule) > BASE_S, "nobody knows what quiet is"
    assert not outcomes[1].accepted
    assert outcomes[1].refused.endswith("times as long as in quiet moments")


@dataclass
class Taken(Shared):
    """A core is taken away now and then, not for long enough to be waited out; what steals hardly notices."""

    def _factor(self, schedule: Schedule) -> float:
        self.runs += 1
        return 1.2 if self.runs // self.period % 2 and not schedule.steal else 1.0


@pytest.mark.parametrize("period", PERIODS)
def test_what_steals_is_not_taken_for_fast_because_the_anchor_was_slow(
    period: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[Trial]:
        options = TuneOptions(1e9, 60, anchored=True, steal=True)
        return list(tune(MIX, Taken(period), PROFILE, options, clock=lambda: 0.0))

    def errors(trials: list[Trial]) -> float:
        return order_errors([trial for trial in trials if trial.schedule.steal])

    trials = found()
    anchor = anchor_of(trials)
    assert anchor is not None and anchor[0] == trials[0].schedule == replace(trials[1].schedule, steal=True)
    assert [trial.origin for trial in trials[1:4]] == list(BASELINES)
    monkeypatch.setattr("gacer_tune.search.tune._always", lambda _options, _space, starts: list(starts.items()))
    assert errors(trials) < 0.02 < errors(found())


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause lets go what runs here for ever: all pauses together stay below what patience there is."""
    schedules = [trial.schedule for trial in searched(Shared(10**9), False, monkeypatch)]
    monkeypatch.setattr("gacer_tune.search.anchored.PATIENCE_S", 3.0)
    device, pauses = Shared(100, 2.0), list[float]()
    anchored = Anchored(device, pause=pauses.append)
    for schedule in schedules:
        assert isinstance(anchored.measure(schedule, 3), Timing)
    assert 0 < sum(pauses) < 3.0 + device.runs * BASE_S
    waited, hasty = sum(pauses), Anchored(Shared(100, 2.0), pause=pauses.append, patience_s=0.0)
    for schedule in schedules:
        assert isinstance(hasty.measure(schedule, 3), Timing)
    assert sum(pauses) - waited < waited, "who has less patience waits less"


def runs_of(*seconds: float) -> Callable[[], tuple[float, list[float]]]:
    """A schedule with one tenant that takes these seconds, run by run."""
    following = iter(seconds)
    return lambda: (taken := next(following), [taken / 2])


def test_pairs_are_put_in_step_with_the_anchor() -> None:
    """The machine becomes twice as slow; the two take turns in going first."""
    order: list[str] = []

    def anchor() -> float:
        order.append("anchor")
        return 1.0 if len(order) < 3 else 2.0

    following = iter((3.0, 6.0, 6.0))

    def run() -> tuple[float, list[float]]:
        order.append("run")
        seconds = next(following)
        return seconds, [seconds / 2]

    timing = paired(anchor, run, 3, usual_s=0.5)
    assert timing.seconds == (1.5, 1.5, 1.5)
    assert timing.completions_s == ((0.75,), (0.75,), (0.75,))
    assert (timing.anchors_s, timing.usual_s) == ((1.0, 2.0, 2.0), 0.5)
    assert timing.raw_s == (3.0, 6.0, 6.0)
    assert order == ["anchor", "run", "run", "anchor", "anchor", "run"]


@pytest.mark.parametrize(
    ("seconds", "count"),
    [((2.5, 1.16, 1.0), 2), ((1.25, 1.16, 1.0), 2), ((2.5, 1.1, 1.0), 3), ((1.25, 1.0, 1.3), 3), ((1.0, 1.5, 1.5), 3)],
)
def test_a_hopeless_schedule_gets_no_more_pairs(seconds: tuple[float, ...], count: int) -> None:
    """1.2 s are too much; of two pairs the better one tells; a single one, however slow, may be disturbed."""
    timing = paired(lambda: 1.0, runs_of(*seconds), 3, usual_s=1.0, give_up_s=1.2)
    assert len(timing.seconds) == count
    assert hopeless(timing.seconds, 1.2) == (count < 3)


def test_one_pair_is_not_believed_while_the_machine_changes() -> None:
    """The anchor was fast, the schedule slow: so it is the machine, as the next run of the anchor tells."""
    anchors = iter((1.0, 2.0, 2.0, 2.0))
    timing = paired(lambda: next(anchors), runs_of(2.0, 2.0, 2.0), 3, usual_s=1.0, give_up_s=1.2)
    assert timing.seconds == (2.0, 1.0, 1.0)
    assert not hopeless(timing.seconds, 1.2)


def test_a_device_without_pairs_of_its_own_takes_turns() -> None:
    slow, fast = sorted({lane_per_tenant(MIX, 2), sequential(MIX, 2)}, key=true_s, reverse=True)
    anchor = fast, true_s(fast)
    timing = taking_turns(QUIET, anchor, slow, 4)
    assert isinstance(timing, Timing)
    assert timing.median_s == pytest.approx(true_s(slow))
    assert timing.anchors_s == pytest.approx([true_s(fast)] * 4)
    given_up = taking_turns(QUIET, anchor, slow, 4, give_up_s=true_s(slow) / 2)
    assert isinstance(given_up, Timing) and len(given_up.seconds) == TELLING
    bad = SimulatedDevice(MIX, PROFILE, 2, faults={slow.digest: Failure("crash", "signal 11")})
    assert taking_turns(bad, anchor, slow, 4) == Failure("crash", "signal 11")
