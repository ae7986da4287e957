"""Tunes for minutes while everything goes wrong, and checks that nothing was lost.

python -m tests.soak --minutes 10

Candidates crash, hang, run out of memory or answer wrongly; the tuner is killed again and again and goes on with what
it has; half-written lines are left in its journal; now and then the disk is full. At the end every trial that was ever
announced must be in the artifact, no schedule may have been tried twice, and the artifact must be as fast as one that
was made in peace.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gacer_tune import inputs
from gacer_tune.runtime import Module, load
from gacer_tune.search.seeds import BASELINES
from gacer_tune.search.trial import Failure, Trial
from gacer_tune.store.journal import JOURNAL, Journal
from models import MODELS

ROOT = Path(__file__).parents[2]
TENANTS = ("tiny_attention", "tiny_branchy", "tiny_mlp")
PROBABILITY = 0.15
LIVES_S = (6.0, 14.0)  # how long a tuner lives, its start of about 4 s included
LAST_S = 4.0  # budget of the last run, which is left alone
ROOM = 6000  # bytes left on the disk when it is nearly full
PAIRS = 40


@dataclass(frozen=True, slots=True)
class Soaked:
    """lives: how often each way the tuner ended; lost: announced trials that the artifact lacks; ratio: the time of the
    soaked artifact over that of the one made in peace.
    """

    lives: Counter[str]
    trials: int
    failures: Counter[str]
    torn: int
    damaged: int
    lost: int
    twice: int
    ratio: float


def soak(folder: Path, seconds: float, seed: int) -> Soaked:
    """Raises AssertionError where a tuner ends in a way that it should not."""
    peace, trouble = folder / "peace", folder / "trouble"
    for place in (peace, trouble):
        place.mkdir()
        for name in TENANTS:
            (place / f"{name}.onnx").write_bytes(MODELS[name]().SerializeToString())
    calm = start(peace, seed, LAST_S, 0.0)
    assert calm.wait() == 0, calm.communicate()[1]
    rng, lives, torn = random.Random(seed), Counter[str](), 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        torn += live(trouble, rng, lives)
    last = start(trouble, seed, LAST_S, PROBABILITY)
    assert last.wait() == 0, last.communicate()[1]
    return judged(peace, trouble, lives, torn)


def live(folder: Path, rng: random.Random, lives: Counter[str]) -> int:
    """One life of the tuner; return how many torn lines it left behind."""
    journal = folder / "out" / JOURNAL
    full = rng.random() < 0.25 and journal.exists()
    process = start(
        folder, rng.randrange(1 << 30), 3600.0, PROBABILITY, journal.stat().st_size + ROOM if full else None
    )
    try:
        _, said = process.communicate(timeout=rng.uniform(*LIVES_S) * (3 if full else 1))
        assert process.returncode == 2 and full, f"exit code {process.returncode}: {said}"
        assert said.splitlines()[-1].startswith("error: ") and "Traceback" not in said, said
        lives["disk full"] += 1
        return 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        lives["killed"] += 1
    if not journal.exists() or rng.random() < 0.5:
        return 0
    with journal.open("ab") as file:
        file.write(b'{"crc":"00000000","record":{"trial":{"sched')
    return 1


def start(
    folder: Path, seed: int, budget_s: float, probability: float, nbytes: int | None = None
) -> subprocess.Popen[str]:
    arguments = [str(folder), str(seed), str(budget_s), str(probability), *([] if nbytes is None else [str(nbytes)])]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soak.tuner", *arguments], cwd=ROOT, text=True, stderr=subprocess.PIPE
    )


def judged(peace: Path, trouble: Path, lives: Counter[str], torn: int) -> Soaked:
    records, damages = Journal(trouble / "out" / JOURNAL).read()
    lines = (trouble / "out" / "trials.jsonl").read_text().splitlines()
    kept = [Trial.from_json(json.loads(line)["trial"]) for line in lines]
    announced = {tuple(line.split()) for line in (trouble / "announced").read_text().splitlines()}
    written = {(str(trial.number), trial.schedule.digest) for trial in kept}
    soaked = load(trouble / "out")
    others = sum(record["workload"] != soaked.workload.key for record in records)
    assert not others, f"{others} of {len(records)} trials are of other kernels: the code was changed meanwhile"
    assert len(records) == len(kept), f"{len(records)} trials in the journal, {len(kept)} in the artifact"
    tried = Counter(trial.schedule for trial in kept if trial.origin not in BASELINES)
    return Soaked(
        lives=lives,
        trials=len(kept),
        failures=Counter(trial.result.kind for trial in kept if isinstance(trial.result, Failure)),
        torn=torn,
        damaged=len(damages),
        lost=len(announced - written),
        twice=sum(count - 1 for count in tried.values()),
        ratio=compared(soaked, load(peace / "out")),
    )


def compared(one: Module, other: Module) -> float:
    """Median over interleaved pairs of runs of the ratio of their times."""
    given = {tenant.name: inputs.sample(tenant, 0) for tenant in one.workload.tenants}
    ratios = []
    for _ in range(PAIRS):
        times = []
        for module in (one, other):
            module.run(given)
            began = time.perf_counter()
            module.run(given)
            times.append(time.perf_counter() - began)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(Path(folder), given.minutes * 60, given.seed)
    print(f"the tuner ended: {', '.join(f'{n} x {how}' for how, n in found.lives.items())}")
    print(
        f"{found.trials} trials; failed: {', '.join(f'{n} x {kind}' for kind, n in found.failures.items()) or 'none'}"
    )
    print(f"{found.torn} torn lines left in the journal, {found.damaged} reported")
    print(f"{found.lost} announced trials lost, {found.twice} schedules tried twice")
    print(f"time over that of an artifact made in peace: {found.ratio:.3f}")
    sys.exit(1 if found.lost or found.twice or not found.failures else 0)


if __name__ == "__main__":
    main()
