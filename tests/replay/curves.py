"""How the gain of joint search grows with the cores, on simulated machines made of recorded kernel times.

python -m tests.replay.curves [MIX...] [--lanes 2 8 16 64] [--trials N]

A lane runs a kernel as fast as one core of the recorded machine did, and data that another lane wrote costs what it
cost there. All lanes together stream no faster than BANDWIDTH: kernels that stream slow each other down so much that
lanes which all stream at UNIT get their share of it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from gacer_tune.cost_model.interference import UNIT, Interference
from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.workload import Workload
from gacer_tune.learning.recording import read_recording
from gacer_tune.search.objective import Objective, ranked
from gacer_tune.search.seeds import BASELINES
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from tests.replay.spaces import mixes

LANES = (2, 8, 16, 64)
BANDWIDTH = {2: 20e9, 8: 40e9, 16: 80e9, 64: 200e9}  # bytes a second: a small cloud machine, a desktop, two servers
SURPRISE = 0.1  # how much slower kernels may be beside others than the search believes
TRIALS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="MIX")
    parser.add_argument("--lanes", type=int, nargs="+", default=LANES)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seconds", type=float, default=60.0, help="the longest a search may take")
    given = parser.parse_args()
    print("| mix | cores | sequential | one lane per tenant | breadth first | tuned | over sequential | over best |")
    print("| --- |" + " ---: |" * 7)
    for name in given.names or mixes():
        recording = read_recording(mixes()[name])
        for lanes in given.lanes:
            found = gains(recording.workload, recording.profile, lanes, (given.trials, given.seconds))
            best = min(found[baseline] for baseline in BASELINES)
            times = [f"{found[key] * 1e3:.2f} ms" for key in (*BASELINES, "tuned")]
            ratios = [f"{found['sequential'] / found['tuned']:.2f}", f"{best / found['tuned']:.2f}"]
            print(f"| {' | '.join([name, str(lanes), *times, *ratios])} |", flush=True)


def machine(profile: Profile, lanes: int) -> Profile:
    """The profile on a machine of so many lanes, at least two."""
    bandwidth = BANDWIDTH[min(BANDWIDTH, key=lambda known: abs(known - lanes))]
    crowd = lanes * UNIT / bandwidth  # how many times as long lanes take that all stream at UNIT
    return replace(profile, interference=Interference(stream=max(0.0, (crowd - 1) / (lanes - 1))))


def gains(workload: Workload, recorded: Profile, lanes: int, limits: tuple[int, float]) -> dict[str, float]:
    """Seconds of the baselines and of what `limits` (trials, seconds) of search find."""
    profile = machine(recorded, lanes)
    device = SimulatedDevice(workload, profile, lanes, contention=SURPRISE)
    trials, seconds = limits
    log: list[Trial] = list(tune(workload, device, profile, TuneOptions(seconds, trials), clock=time.monotonic))
    found = {
        trial.origin: trial.result.median_s
        for trial in log
        if trial.origin in BASELINES and isinstance(trial.result, Timing)
    }
    return {**found, "tuned": ranked(log, Objective(workload))[0][0]}


if __name__ == "__main__":
    main()
