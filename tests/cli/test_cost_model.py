"""gacer-tune cost-model eval and inspect --demand."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.learning.memory import memory_here
from gacer_tune.learning.recording import SUFFIX, Recording, write_recording
from gacer_tune.learning.samples import samples_of
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Trial
from gacer_tune.store.cache import Cache
from gacer_tune.store.journal import Journal
from tests.cli.support import Cli
from tests.support.workloads import chain, random_profile


def recording(name: str, seed: int, count: int = 60) -> Recording:
    rng = random.Random(seed)
    workload = Workload(tuple(chain(f"{name}{t}", (4, 2, 8, 3), variants=2) for t in range(2)))
    profile = random_profile(rng, workload, contention=0.2)
    device = SimulatedDevice(workload, profile, lanes=2, contention=1.5, seed=seed, noise=0.01)
    drawn = [random_schedule(workload, 2, rng) for _ in range(count)]
    trials = tuple(Trial(s, device.measure(s, 5), "random", number) for number, s in enumerate(drawn))
    return Recording(name, workload, profile, trials)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / f"{name}{SUFFIX}" for name in ("left", "right")]
    for seed, path in enumerate(paths):
        write_recording(path, recording(path.name.removesuffix(SUFFIX), seed))
    return paths


def test_plans_and_mixes_are_held_out(cli: Cli, recordings: list[Path]) -> None:
    said = cli("cost-model", "eval", *recordings, "--json")
    assert said.code == 0
    mixes, mean = said.last["mixes"], said.last["mean"]
    assert [mix["name"] for mix in mixes] == ["left", "right"]
    assert set(mean) == {"timeline", "known", "unseen"}
    for name, figures in mean.items():
        assert figures["pairwise"] == pytest.approx(sum(mix[name]["pairwise"] for mix in mixes) / 2)
    assert "Plans held out" in said.err and "Mixes held out" in said.err
    lines = [line for line in said.err.splitlines() if line.startswith(("│ left", "│ right", "│ mean"))]
    assert len(lines) == 6
    assert "pairs, whose measured times differ by no more than the noise" in said.err


def test_only_what_was_asked_for_is_shown(cli: Cli, recordings: list[Path]) -> None:
    plans = cli("cost-model", "eval", recordings[0], "--held-out", "plans").out
    assert "Plans held out" in plans and "Mixes held out" not in plans
    mixes = cli("cost-model", "eval", *recordings, "--held-out", "mix").out
    assert "Plans held out" not in mixes and "Mixes held out" in mixes


def test_a_table_fits_a_page(cli: Cli, recordings: list[Path]) -> None:
    said = cli("cost-model", "eval", *recordings)
    tables = [line for line in said.out.splitlines() if line.startswith(("┃", "│"))]
    assert tables and all(len(line) <= 120 and "…" not in line for line in tables)
    for heads in (line for line in tables if line.startswith("┃")):
        assert [head.strip() for head in heads.strip("┃").split("┃")][2:] == [
            *("pairs", "near", "peak@1", "peak@5", "top 10", "Spearman", "Kendall", "error")
        ]


def test_without_paths_the_cache_is_asked(cli: Cli, tmp_path: Path) -> None:
    said = cli("cost-model", "eval", "--cache", tmp_path)
    assert said.code == 2
    assert said.err.startswith("error: no trials: name folders that tune has written")
    from gacer_tune.executor.threads import allowed_cpus

    known = recording("left", 0, 40)
    samples = samples_of(known.workload, known.profile, known.trials, "from the cache")
    memory_here(Cache(tmp_path), len(allowed_cpus())).keep(samples)
    assert cli("cost-model", "eval", "--cache", tmp_path, "--json").last["mixes"][0]["name"] == "from the cache"


def test_an_artifact_and_its_journal_are_read(cli: Cli, artifact: Path) -> None:
    from gacer_tune.artifact import read_artifact

    read = read_artifact(artifact)
    device = SimulatedDevice(read.workload, read.profile, lanes=2, contention=1.0, noise=0.01)
    rng, journal = random.Random(1), Journal(artifact / "journal.jsonl")
    for number in range(12):
        schedule = random_schedule(read.workload, 2, rng)
        trial = Trial(schedule, device.measure(schedule, 5), "random", number)
        journal.append({"workload": read.workload.key, "trial": trial.to_json()})
    said = cli("cost-model", "eval", journal.path, "--json")
    assert said.code == 0
    assert said.last["mixes"][0]["name"] == "det+seg"
    assert said.last["mixes"][0]["known"] is None, "too few plans to hold some out"
    assert "too few plans to hold some out: det+seg" in said.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "nowhere: no such file; allowed: folders that tune has written, their journals"),
        (["--held-out", "model"], "--held-out model: allowed: plans, mix, both"),
    ],
)
def test_what_cannot_be_used_is_refused(cli: Cli, arguments: list[str], text: str) -> None:
    said = cli("cost-model", "eval", *arguments)
    assert said.code == 2
    assert text in said.err


def test_one_mix_cannot_be_held_out_and_a_journal_needs_its_artifact(
    cli: Cli, recordings: list[Path], tmp_path: Path
) -> None:
    said = cli("cost-model", "eval", recordings[0], "--held-out", "mix")
    assert (said.code, said.err) == (
        2,
        "error: --held-out mix: trials of 1 mix were given, at least 2 are needed\n",
    )
    Journal(tmp_path / "journal.jsonl").append({"workload": "x", "trial": {}})
    said = cli("cost-model", "eval", tmp_path / "journal.jsonl")
    assert said.code == 2
    assert "no schedule.json beside it" in said.err


def test_the_share_of_the_lanes_grows_with_the_work_items(cli: Cli, artifact: Path) -> None:
    """G1: W(O) and T(O) of every kernel by work items: W never falls and never exceeds 1, T is not negative."""
    said = cli("inspect", artifact, "--demand", "--json")
    assert said.code == 0
    rows = said.last["demand"]
    assert [(row["tenant"], row["items"][-1]) for row in rows] == [
        *(("det", 4), ("det", 3), ("det", 5), ("seg", 2), ("seg", 6))
    ]
    for row in rows:
        shares = [share for share, _ in row["demands"]]
        assert all(0 < one <= other <= 1 for one, other in pairwise([*shares, 1]))
        assert shares[0] == 0.5, "one item occupies one of two lanes"
        assert shares[-1] == 1.0
        assert all(one <= other for one, other in pairwise(seconds for _, seconds in row["demands"]))
    assert rows[0]["items"] == [1, 2, 4]
    assert "share W of 2 lanes that a part of an op can use" in said.err


@pytest.mark.usefixtures("models")
def test_models_have_no_times_to_show(cli: Cli) -> None:
    said = cli("inspect", "det.onnx", "--demand")
    assert (said.code, said.err) == (
        2,
        "error: --demand: det.onnx was given, allowed: one folder that tune has written\n",
    )
