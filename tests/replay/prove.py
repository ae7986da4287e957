"""The figures of docs/search.md: how well and how fast the strategies search, on what was recorded.

python -m tests.replay.prove spaces [NAME...]   within the spaces of which every schedule was measured
python -m tests.replay.prove mixes [NAME...]    on surrogates of the recorded mixes
python -m tests.replay.prove stop [NAME...]     on the same, what stopping early gains and costs
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from math import ceil, inf

from gacer_tune.learning.recording import Recording, read_recording
from gacer_tune.search.objective import Objective
from gacer_tune.search.stopping import stalled
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from tests.replay.races import NAMES, optimum_s, within
from tests.replay.spaces import SPACES, mixes, path_of
from tests.replay.steady import steady
from tests.replay.surrogate import Surrogate, rank_correlation

SHARE = 0.05  # of a space that a search may measure
TRIALS = 300  # of coordinate descent and of random search on a mix
ENDLESS_S = 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("spaces", "mixes", "stop"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=TRIALS)
    given = parser.parse_args()
    known = {"spaces": SPACES, "mixes": mixes(), "stop": mixes()}[given.what]
    if given.what == "spaces":
        rows = (row for name in given.names or known for row in space_rows(name, given.seeds))
        show(("space", "schedules", "strategy", "at 5 % of the space: median", "worst", "within 5 %"), rows)
    elif given.what == "mixes":
        made = (mix_row(name, given.seeds, given.trials) for name in given.names or known)
        show(
            ("mix", "recorded", "rank correlation: timeline", "surrogate", "coordinate's end reached after",
             "share", "seeds within half", "random's end reached after", "share", "seeds within a fifth"),
            made,
        )  # fmt: skip
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


def mix_row(name: str, seeds: int, trials: int) -> Sequence[str]:
    """Evolve races to what the other two have after `trials` measurements, each seed against its own."""
    recording = recorded(name)
    plain, surrogate = rank_correlation(recording)
    cells = [name, str(len(recording.trials)), f"{plain:.2f}", f"{surrogate:.2f}"]
    races = [race(recording, seed, trials) for seed in range(seeds)]
    for needed, share in zip(zip(*races, strict=True), (0.5, 0.2), strict=True):
        median = statistics.median(needed)
        told = f"{median:.0f} of {trials}" if median < inf else f"never in {trials}"
        cells += [told, f"{median / trials:.0%}", f"{sum(n <= share * trials for n in needed)} of {seeds}"]
    return cells


def recorded(name: str) -> Recording:
    return steady(read_recording(mixes()[name]))


def race(recording: Recording, seed: int, trials: int) -> tuple[float, float]:
    """Measurements that evolve takes to a schedule that is, without noise, as good as what coordinate descent ends
    with, and as what random search ends with; inf: more than they took.
    """
    goals = [
        true_best(recording, Surrogate(recording, seed), TuneOptions(ENDLESS_S, trials, rival, seed=seed))[-1] * 1.0005
        for rival in ("coordinate", "random")
    ]
    device = Surrogate(recording, seed + 1000)
    needed, best_seen = [inf, inf], inf
    options = TuneOptions(ENDLESS_S, trials, "evolve", seed=seed)
    for count, trial in enumerate(tune(recording.workload, device, recording.profile, options), start=1):
        if isinstance(trial.result, Timing) and trial.result.median_s < best_seen:
            best_seen, true = trial.result.median_s, device.true_s(trial.schedule)
            needed = [min(n, count) if true <= goal else n for n, goal in zip(needed, goals, strict=True)]
            if max(needed) < inf:
                break
    return needed[0], needed[1]


def true_best(recording: Recording, device: Surrogate, options: TuneOptions) -> list[float]:
    """After each trial the noise-free time of the schedule that looks best so far."""
    found, best_seen, true = [], inf, inf
    for trial in tune(recording.workload, device, recording.profile, options):
        if isinstance(trial.result, Timing) and trial.result.median_s < best_seen:
            best_seen, true = trial.result.median_s, device.true_s(trial.schedule)
        found.append(true)
    return found


def stop_row(name: str, seeds: int, trials: int) -> Sequence[str]:
    recording = recorded(name)
    objective, ends, losses = Objective(recording.workload), [], []
    for seed in range(seeds):
        device = Surrogate(recording, seed)
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
