"""What a perfect cost model would reach on the recorded plans: their own measurements are noisy.

python -m tests.learning.ceiling [RECORDING...] [--draws N]

peak@5 asks for the plan that was measured fastest, and of many measurements the fastest is mostly a lucky one. Two
figures say how much that costs a model that knows everything but luck:

- drawn anew: the measured times are taken for the truth, each is measured once more with the error that its runs show,
  and who knows the truth is asked. A few disturbed runs make that error larger than it is.
- by halves: one half of each plan's runs is asked which plan is the fastest by the other half. Both were measured in
  the same seconds, so what drifts from one measurement to the next is not in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gacer_tune.cost_model.features import Vector
from gacer_tune.cost_model.quality import peak_at
from gacer_tune.learning.evaluation import MOST_NOISE, held_out_plans, held_out_workload
from gacer_tune.learning.recording import read_recording
from gacer_tune.learning.samples import Samples, samples_of
from gacer_tune.search.trial import Timing, Trial
from tests.replay.spaces import mixes

K = 5
DRAWS = 200


def drawn_anew(measured_s: Vector, noise: Vector, draws: int, seed: int = 0) -> float:
    """Mean peak@5 of the true order where each measurement errs by `noise`, a share of it."""
    rng = np.random.default_rng(seed)
    again = (measured_s * np.exp(noise * rng.standard_normal(len(noise))) for _ in range(draws))
    return float(np.mean([peak_at(K, measured_s, once) for once in again]))


def by_halves(runs: Sequence[Sequence[float]], draws: int, seed: int = 0) -> float:
    """Mean peak@5 of one half of each plan's runs judged by the other half; a single run is both."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        halves = [_halves(rng.permutation(np.asarray(own))) for own in runs]
        one, other = (np.array([np.median(half) for half in side]) for side in zip(*halves, strict=True))
        found.append(peak_at(K, one, other))
    return float(np.mean(found))


def _halves(runs: Vector) -> tuple[Vector, Vector]:
    middle = len(runs) // 2
    return (runs[:middle], runs[middle:]) if middle else (runs, runs)


def steady(path: Path) -> tuple[Samples, list[tuple[float, ...]]]:
    """The plans that `gacer-tune cost-model eval` asks about, and the runs of each."""
    recording = read_recording(path)
    found = samples_of(recording.workload, recording.profile, recording.trials, recording.name)
    rows = np.flatnonzero(found.noise <= MOST_NOISE)
    runs = _runs(recording.trials)
    assert len(runs) == len(found), "a sample for each plan that was timed"
    return found.kept(rows), [runs[row] for row in rows]


def _runs(trials: Sequence[Trial]) -> list[tuple[float, ...]]:
    timings = {trial.schedule: trial.result for trial in trials if isinstance(trial.result, Timing)}
    return [timing.seconds for timing in timings.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="*", type=Path, default=list(mixes().values()))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seeds", type=int, default=5, help="of the held-out plans and of the model")
    given = parser.parse_args()
    groups = [steady(path) for path in given.recordings]
    heads = (
        "plans",
        "noise of the fastest",
        "timeline",
        "known mix",
        "unknown mix",
        "noise drawn anew",
        "half the runs",
    )
    print(f"| mix | {' | '.join(heads)} |\n| --- |{' ---: |' * len(heads)}", flush=True)
    rows = []
    for group, runs in groups:
        others = [other for other, _ in groups if other.group != group.group]
        rows.append(_figures(group, runs, others, given))
        best = float(group.noise[int(np.argmin(group.measured_s))])
        print(f"| {group.name} | {len(group)} | {best:.1%} | {_cells(rows[-1])} |", flush=True)
    print(f"| mean | | | {_cells([float(np.mean(column)) for column in zip(*rows, strict=True)])} |")


def _figures(
    group: Samples, runs: Sequence[Sequence[float]], others: Sequence[Samples], given: argparse.Namespace
) -> list[float]:
    known = [peak_at(K, held_out_plans(group, seed), group.measured_s) for seed in range(given.seeds)]
    unseen = [peak_at(K, held_out_workload(group, others, seed), group.measured_s) for seed in range(given.seeds)]
    return [
        peak_at(K, group.simulated_s, group.measured_s),
        float(np.mean(known)),
        float(np.mean(unseen)),
        drawn_anew(group.measured_s, group.noise, given.draws),
        by_halves(runs, given.draws),
    ]


def _cells(figures: Sequence[float]) -> str:
    return " | ".join(f"{figure:.3f}" for figure in figures)


if __name__ == "__main__":
    main()
