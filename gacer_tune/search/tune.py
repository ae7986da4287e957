"""The search as a generator of trials: baselines first, then rounds of a strategy's proposals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from gacer_tune.cost_model.model import CostModel
from gacer_tune.cost_model.profile import Profile, refuse_mismatch
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.errors import UserError
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import Only
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.streams import even_shares
from gacer_tune.ir.workload import Workload
from gacer_tune.search.anchored import Anchored, anchor_of
from gacer_tune.search.coordinate import CoordinateDescent
from gacer_tune.search.device import Device
from gacer_tune.search.evolve import Evolve
from gacer_tune.search.exhaustive import Exhaustive
from gacer_tune.search.objective import Objective, ObjectiveName, leaders, ranked
from gacer_tune.search.ranking import Ranker
from gacer_tune.search.seeds import BASELINES, baselines, objective_of, seeds
from gacer_tune.search.strategy import RandomSearch, Space, Strategy
from gacer_tune.search.trial import Failure, Result, Timing, Trial, checked, merged

STRATEGIES = ("evolve", "coordinate", "random", "exhaustive")
OFFERED = "cache"  # origin of schedules that an earlier search found
EVEN_SHARES = "even_shares"  # origin of a stream for each tenant, each with as large a share of the GPU
ROUND = 8  # proposals between two looks at the history
FEW = 3  # runs of a first look
MORE = (3, 3)  # what a contender gets on top, and what one that still contends then
HOPELESS = 16  # trials that all fail before the search gives up

_NEAR = 0.02  # a contender is not further than this from the best, or than its own spread
_WIDEST = 0.03  # a spread above this is no excuse
_SHARE = 0.05  # of the budget, for the runs of a baseline
_LEADERS = 3  # schedules that are measured again when the machine has changed
_PATIENT = 0.1  # of the budget, for calm moments, whatever was measured so far
_HOPELESS_RATIO = 1.2  # a run this many times the shortest median ends the first look


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """budget_s: seconds for this call; trials: at most so many, those of the history counted. The baselines are always
    measured, and right after them the schedules `offered`. prior: what earlier searches on this device have learned.
    shares: also schedules whose lanes have shares of a GPU, beginning with even ones, right after those offered.
    anchored: each trial is timed beside the first schedule, for machines whose speed is not steady. steal: all but the
    baselines steal, unless `only` asks for half of the space. Raises UserError for what cannot be.
    """

    budget_s: float = 120.0
    trials: int = 10_000
    strategy: str = "evolve"
    objective: ObjectiveName = "makespan"
    seed: int = 0
    only: Only | None = None
    offered: tuple[Schedule, ...] = ()
    prior: CostModel | None = None
    anchored: bool = False
    shares: bool = False
    steal: bool = False

    def __post_init__(self) -> None:
        if not self.budget_s > 0:
            raise UserError(f"budget {self.budget_s} s: it must be above 0")
        if self.trials < 1:
            raise UserError(f"trials {self.trials}: at least 1")
        if self.strategy not in STRATEGIES:
            raise UserError(f"strategy {self.strategy!r}: one of {', '.join(STRATEGIES)}")
        if self.only not in (None, *get_args(Only)):
            raise UserError(f"only {self.only!r}: one of {', '.join(get_args(Only))}, or nothing for both")

    @property
    def origin(self) -> str:
        """The name of the search in its trials: `evolve`, or `evolve_spatial_only`."""
        return self.strategy if self.only is None else f"{self.strategy}_{self.only}_only"


def tune(
    workload: Workload,
    device: Device,
    profile: Profile,
    options: TuneOptions,
    history: Sequence[Trial] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Trial]:
    """Yield each trial when it is over; its number goes on from the history, whose schedules are not measured again.

    First the anchor, where it is no baseline, and the baselines, with their names as origin, also where the budget is
    too small for them, then what is offered, and where lanes may steal the baselines with that. Then the strategy's
    proposals until the budget or the number of trials is used up, or the strategy knows no more. Each schedule gets FEW
    runs; one that may be the best gets MORE at once, and its trial holds all of them. Equal seeds and results give
    equal proposals.

    Raises UserError when nothing but failures came of HOPELESS trials or of the whole search, with the first cause.
    """
    refuse_mismatch(workload, profile)
    objective = objective_of(options.objective, workload, profile, device.lanes)
    starts = baselines(workload, profile, device.lanes)
    shared = (even_shares(starts["lane_per_tenant"]),) if options.shares else ()
    space = Space(
        workload, device.lanes, (*starts.values(), *shared), options.seed, options.only, options.shares,
        options.steal and options.only is None and device.lanes > 1,
    )  # fmt: skip
    if options.anchored:
        device = Anchored(device, anchor_of(history), patience_s=_PATIENT * options.budget_s)
    search = _Search(device, objective, history, clock)
    for name, schedule in _always(options, space, starts):
        if not any(trial.origin == name and trial.schedule == schedule for trial in history):
            yield search.trial(schedule, name, _runs(workload, profile, schedule, options.budget_s))
    for schedule, origin in _given(options, space, shared).items():
        if not search.over(options) and all(trial.schedule != schedule for trial in search.history):
            yield search.trial(schedule, origin)
    strategy = _strategy(options, space, profile, search.objective)
    while not search.over(options):
        proposals = strategy.propose(search.known_to(options), min(ROUND, options.trials - len(search.history)))
        if not proposals:
            break
        for schedule in proposals:
            if search.over(options):
                break
            yield search.trial(schedule, options.origin)
    search.refuse_hopeless()


def _always(options: TuneOptions, space: Space, starts: dict[str, Schedule]) -> list[tuple[str, Schedule]]:
    """The baselines with their names; before them the anchor, where it is not one of them.

    A core that is taken away for a moment costs what steals half as much. Beside an anchor that does not steal it would
    look fast because the anchor was slow.
    """
    anchor = [(options.origin, space.made(starts["sequential"]))] if options.anchored and space.steal else []
    return [*anchor, *starts.items()]


def _given(options: TuneOptions, space: Space, shared: Sequence[Schedule]) -> dict[Schedule, str]:
    """What is measured before the strategy proposes anything, with its origin."""
    stealing = map(space.made, space.starts) if space.steal else ()
    return {
        **dict.fromkeys(options.offered, OFFERED),
        **dict.fromkeys(shared, EVEN_SHARES),
        **dict.fromkeys(stealing, options.origin),
    }


def _runs(workload: Workload, profile: Profile, schedule: Schedule, budget_s: float) -> int:
    """Of a baseline: as many as a contender gets, but FEW where more would take too much of the budget."""
    most, predicted_s = FEW + sum(MORE), simulate(workload, lower(workload, schedule), profile).makespan_s
    return max(FEW, int(min(most, _SHARE * budget_s / predicted_s))) if predicted_s else most


def _strategy(options: TuneOptions, space: Space, profile: Profile, objective: Objective) -> Strategy:
    if options.strategy == "random":
        return RandomSearch(space)
    if options.strategy == "coordinate":
        return CoordinateDescent(space, objective)
    if options.strategy == "exhaustive":
        return Exhaustive(space)
    ranker = Ranker(space.workload, profile, objective, options.seed, options.prior)
    # The seeds decide chunks and pointers at once, so they belong to neither half of the space.
    starts = seeds(space.workload, profile, space.lanes) if options.only is None else ()
    return Evolve(space, ranker, tuple(map(space.made, starts)))


class _Search:
    """The history so far, and the time and the best value that go with it."""

    def __init__(
        self, device: Device, objective: Objective, history: Sequence[Trial], clock: Callable[[], float]
    ) -> None:
        self.device, self.objective, self.clock = device, objective, clock
        self.history = list(history)
        self.began_s = clock()
        self.spent_s = history[-1].at_s if history else 0.0  # by the calls that made the history
        self.best = min((value for value, _ in ranked(history, objective)), default=math.inf)
        self.best_s = min((t.result.median_s for t in history if isinstance(t.result, Timing)), default=math.inf)

    def over(self, options: TuneOptions) -> bool:
        """True when the budget or the trials are used up. Raises UserError when to go on is hopeless."""
        if len(self.history) >= HOPELESS:
            self.refuse_hopeless()
        return self.clock() - self.began_s >= options.budget_s or len(self.history) >= options.trials

    def known_to(self, options: TuneOptions) -> Sequence[Trial]:
        """The history that a strategy goes on from; one half of the space must not inherit what the other decided."""
        if options.only is None:
            return self.history
        return [trial for trial in self.history if trial.origin in (*BASELINES, EVEN_SHARES, options.origin)]

    def trial(self, schedule: Schedule, origin: str, runs: int | None = None) -> Trial:
        """So many runs; where none are given, FEW, and MORE for what may be the best."""
        if isinstance(self.device, Anchored) and self.device.changed:
            self.device.keep_up(leaders(self.history, self.objective)[:_LEADERS], self.objective)
        give_up_s = math.inf if runs else self.best_s * _HOPELESS_RATIO
        result = checked(self.device.measure(schedule, runs or FEW, give_up_s))
        for more in () if runs else MORE:
            if isinstance(result, Timing) and self._contends(result):
                result = _more(result, checked(self.device.measure(schedule, more)))
        if isinstance(result, Timing):
            value = self.objective.of(result)
            if value < self.best and isinstance(self.device, Anchored):
                self.device.lead(schedule)
            self.best = min(self.best, value)
            self.best_s = min(self.best_s, result.median_s)
        done = Trial(schedule, result, origin, len(self.history), self.spent_s + self.clock() - self.began_s)
        self.history.append(done)
        return done

    def _contends(self, timing: Timing) -> bool:
        """Whether it may be the best; the more runs there are, the less is put down to chance."""
        chance = max(_NEAR, min(timing.spread, _WIDEST)) * math.sqrt(FEW / len(timing.seconds))
        return self.objective.of(timing) <= self.best * (1 + chance)

    def refuse_hopeless(self) -> None:
        failures = [trial for trial in self.history if isinstance(trial.result, Failure)]
        if failures and len(failures) == len(self.history):
            raise UserError(f"all {len(failures)} trials failed, the first ({_cause(failures[0])})")


def _more(few: Timing, more: Result) -> Result:
    """All runs of both looks; a failure at the second one is the result."""
    return more if isinstance(more, Failure) else merged(few, more)


def _cause(trial: Trial) -> str:
    assert isinstance(trial.result, Failure)
    return f"{trial.origin}: {trial.result.kind}: {trial.result.message}"
