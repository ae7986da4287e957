"""The figures of docs/search.md: how well and how fast the strategies search, on what was recorded.

python -m tests.replay.prove spaces [NAME...]   within the spaces of which every schedule was measured
python -m tests.replay.prove mixes [NAME...]    on surrogates of the recorded mixes
python -m tests.replay.prove rooms [NAME...]    on simulated machines on which there is much to gain
python -m tests.replay.prove stop [NAME...]     on the same, what stopping early gains and costs
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import ceil, inf
from multiprocessing import get_context
from typing import Protocol

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.learning.recording import Recording, read_recording
from gacer_tune.search.device import Device
from gacer_tune.search.objective import Objective
from gacer_tune.search.seeds import baselines
from gacer_tune.search.stopping import stalled
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from tests.replay.races import NAMES, optimum_s, within
from tests.replay.rooms import ROOMS, room
from tests.replay.spaces import SPACES, mixes, path_of
from tests.replay.surrogate import Surrogate, rank_correlation

SHARE = 0.05  # of a space that a search may measure
TRIALS = 300  # of coordinate descent and of random search on a mix
ENDLESS_S = 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("spaces", "mixes", "rooms", "stop"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=TRIALS)
    given = parser.parse_args()
    known = {"spaces": SPACES, "mixes": mixes(), "rooms": ROOMS, "stop": mixes()}[given.what]
    if given.what == "spaces":
        rows = (row for name in given.names or known for row in space_rows(name, given.seeds))
        show(("space", "schedules", "strategy", "at 5 % of the space: median", "worst", "within 5 %"), rows)
    elif given.what == "mixes":
        made = (mix_row(name, given.seeds, given.trials) for name in given.names or known)
        show(("mix", "recorded", "rank correlation: timeline", "surrogate", *race_heads(given.trials)), made)
    elif given.what == "rooms":
        made = (room_row(name, given.seeds, given.trials) for name in given.names or known)
        show(("tenants and lanes", *race_heads(given.trials)), made)
    else:
        made = (stop_row(name, given.seeds, given.trials) for name in given.names or known)
        show(("mix", "trials until stopped", "of", "slower than at the end: median", "worst"), made)


def show(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    """A Markdown table, row by row as they are found."""
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def space_rows(name: str, seeds: int) -> Iterator[Sequence[str]]:
    recording = read_recording(path_of(name))
    trials, best = ceil(SHARE * len(recording.trials)), optimum_s(recording)
    for strategy in NAMES:
        options = [TuneOptions(ENDLESS_S, trials, strategy, seed=seed, only=SPACES[name].only) for seed in range(seeds)]
        found = [best / within(recording, one)[-1] for one in options]
        good = sum(ratio >= 0.95 for ratio in found) / seeds
        yield (
            name,
            str(len(recording.trials)),
            strategy,
            f"{statistics.median(found):.3f}",
            f"{min(found):.3f}",
            (f"{good:.0%}"),
        )


def race_heads(trials: int) -> tuple[str, ...]:
    return (
        f"after {trials}: random", "coordinate", f"after {trials // 2}: evolve",
        "random's end reached after", "within a fifth", "coordinate's end reached after", "within half",
    )  # fmt: skip


def mix_row(name: str, seeds: int, trials: int) -> Sequence[str]:
    recording = recorded(name)
    plain, surrogate = rank_correlation(recording)
    device = Surrogate(recording)
    courses = [Course(device.seeded(seed), recording.profile, seed, trials) for seed in range(seeds)]
    return [name, str(len(recording.trials)), f"{plain:.2f}", f"{surrogate:.2f}", *race_cells(courses)]


def room_row(name: str, seeds: int, trials: int) -> Sequence[str]:
    devices = [room(name, seed) for seed in range(seeds)]
    courses = [Course(device, device.profile, device.seed, trials) for device in devices]
    return [name, *race_cells(courses)]


def race_cells(courses: Sequence[Course]) -> list[str]:
    """Evolve races to what the other two have after all trials, each seed against its own; a race for each core.

    Ends are times without noise over the best baseline's, medians over the seeds.
    """
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        races = list(pool.map(race, courses))
    cells = [f"{statistics.median(ends):.3f}" for ends in zip(*(one.ends for one in races), strict=True)]
    for number, share in enumerate((0.2, 0.5)):
        needed = [one.needed[number] for one in races]
        told = f"{statistics.median(needed):.0f}" if statistics.median(needed) < inf else "never"
        cells += [told, f"{sum(n <= share * courses[0].trials for n in needed)} of {len(races)}"]
    return cells


def recorded(name: str) -> Recording:
    return read_recording(mixes()[name])


@dataclass(frozen=True, slots=True)
class Race:
    """ends: of random search, of coordinate descent after all trials and of evolve after half of them, over the best
    baseline; needed: measurements of evolve until it has what the first two end with, inf where half of them do not do.
    """

    ends: tuple[float, float, float]
    needed: tuple[float, float]


class Track(Device, Protocol):
    """A device of which it is known what a schedule takes without noise."""

    @property
    def workload(self) -> Workload: ...

    def true_s(self, schedule: Schedule) -> float: ...


@dataclass(frozen=True)
class Course:
    """The machine to race on, what the searches know of it, their seed, and how many trials the slower ones have."""

    device: Track
    profile: Profile
    seed: int
    trials: int


def race(course: Course) -> Race:
    """What counts is the time without noise of the schedule that looks best."""
    device, trials, seed = course.device, course.trials, course.seed
    rivals = [
        true_best(course, TuneOptions(ENDLESS_S, trials, rival, seed=seed))[-1] for rival in ("random", "coordinate")
    ]
    curve = true_best(course, TuneOptions(ENDLESS_S, trials // 2, "evolve", seed=seed))
    needed = [next((n for n, value in enumerate(curve, start=1) if value <= goal * 1.0005), inf) for goal in rivals]
    starts = baselines(device.workload, course.profile, device.lanes)
    base = min(device.true_s(schedule) for schedule in starts.values())
    return Race((rivals[0] / base, rivals[1] / base, curve[-1] / base), (needed[0], needed[1]))


def true_best(course: Course, options: TuneOptions) -> list[float]:
    """After each trial the noise-free time of the schedule that looks best so far."""
    found, best_seen, true = [], inf, inf
    for trial in tune(course.device.workload, course.device, course.profile, options):
        if isinstance(trial.result, Timing) and trial.result.median_s < best_seen:
            best_seen, true = trial.result.median_s, course.device.true_s(trial.schedule)
        found.append(true)
    return found


def stop_row(name: str, seeds: int, trials: int) -> Sequence[str]:
    recording = recorded(name)
    objective, ends, losses = Objective(recording.workload), [], []
    machine = Surrogate(recording)
    for seed in range(seeds):
        device = machine.seeded(seed)
        options = TuneOptions(ENDLESS_S, trials, "evolve", seed=seed)
        history: list[Trial] = []
        for trial in tune(recording.workload, device, recording.profile, options):
            history.append(trial)
            if len(ends) == seed and stalled(history, objective):
                ends.append(len(history))
        ends += [len(history)] * (len(ends) == seed)
        losses.append(_true(device, history[: ends[seed]]) / _true(device, history) - 1)
    return (
        name, f"{statistics.median(ends):.0f}", str(trials), f"{statistics.median(losses):.1%}", f"{max(losses):.1%}"
    )  # fmt: skip


def _true(device: Surrogate, history: Sequence[Trial]) -> float:
    timed = [(t.result.median_s, t.number) for t in history if isinstance(t.result, Timing)]
    return device.true_s(history[min(timed)[1]].schedule)


if __name__ == "__main__":
    main()
