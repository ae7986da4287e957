"""gacer-tune inspect: ops of models, schedules of artifacts."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from gacer_tune.cli.ops import op_rows, totals
from gacer_tune.cli.schedule_words import schedule_words
from gacer_tune.cli.timeline_text import timeline_text
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import Cluster, Schedule, sequential
from gacer_tune.ir.workload import Op, Workload
from gacer_tune.overhead import Overhead
from gacer_tune.report.track import Span, Track, simulated
from models import MODELS
from tests.cli.support import Cli, Fake
from tests.support.workloads import chain, quick, random_profile, random_workload, randoms


def _cells(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")]


def test_models_are_shown_op_by_op(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mlp.onnx"
    path.write_bytes(MODELS["tiny_mlp"]().SerializeToString())
    said = cli("inspect", path, f"two={path}:batch=2", "--json")
    assert said.code == 0
    assert [tenant["name"] for tenant in said.last["tenants"]] == ["mlp", "two"]
    assert [tenant["batch"] for tenant in said.last["tenants"]] == [1, 2]
    op = said.last["tenants"][0]["ops"][0]
    assert (op["kind"], op["flops"], op["default_schedule"]) == ("matmul", 2 * 64 * 128, False)
    assert len(op["variants"]) == len(op["items"]) == 1
    rows = _cells(said.err)
    assert len(rows) == 6
    assert rows[0][:3] == [op["name"], "matmul", "1"]
    assert "mlp: 3 ops in 3 kernels" in said.err


def test_ops_that_no_rule_knows_are_named() -> None:
    tenant = chain("det", (4, 2), variants=3)
    odd = Op("strange", "default", (tenant.kernels[0], tenant.kernels[1]))
    rows = op_rows(replace(tenant, ops=(*tenant.ops, odd)))
    assert [row.default_schedule for row in rows] == [False, False, True]
    assert (rows[2].kernels, rows[2].variants, rows[2].items, rows[2].flops) == (2, (3, 3), (4, 2), 2000)
    assert totals(tenant, rows).endswith("; default schedule, so slower than it could be: strange")
    assert (
        totals(tenant, rows[:2])
        == "det: 2 ops in 2 kernels, 0.002 MFLOP, 0.000 MB moved; no ops only copy; a rule for every op"
    )


def test_ops_that_only_copy_are_counted() -> None:
    tenant = chain("det", (4, 2), variants=3)
    moved = [Op(name, "copy", (tenant.kernels[0],)) for name in ("turned", "flat")]
    for count, words in ((1, "; 1 op only copies;"), (2, "; 2 ops only copy;")):
        assert words in totals(tenant, op_rows(replace(tenant, ops=(*tenant.ops, *moved[:count]))))


def test_an_artifact_is_shown_in_words_and_in_time(cli: Cli, artifact: Path) -> None:
    said = cli("inspect", artifact)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[:3] == [
        "2 tenants on 2 lanes in 1 cluster",
        "cluster 0: taking turns det ops 0-2 on lanes 0, 1, then seg ops 0-1 on lanes 0, 1",
        "0 of 5 ops are cut otherwise than once for each of their lanes; 0 of 5 kernels use another variant than the "
        "first",
    ]  # fmt: skip
    assert [line[:7] for line in lines[3:5]] == ["lane 0 ", "lane 1 "]
    assert all(len(line) == 120 and set(line[7:]) <= set("AB.") for line in lines[3:5])
    assert lines[5].startswith("A det, B seg; ")
    found = cli("inspect", artifact, "--json").last
    assert found["lanes"] == 2
    assert found["schedule"]["clusters"][0]["breadth"] is True
    assert all(0 < share <= 1 for share in found["busy"])


def test_overhead_is_measured_on_demand(cli: Cli, artifact: Path, fake: Fake) -> None:
    asked: list[Path] = []

    def overhead(folder: Path) -> Overhead:
        asked.append(folder)
        return Overhead(0.0102, 0.01, 3e-7)

    fake("gacer_tune.overhead", overhead=overhead)
    said = cli("inspect", artifact, "--overhead", "--json")
    assert asked == [artifact]
    assert said.last["overhead"] == {"wall_s": 0.0102, "kernels_s": 0.01, "handover_s": 3e-7, "ratio": 0.0102 / 0.01}
    assert (
        "sequential run: 10.2 ms, its kernels 10.0 ms, so all else is 2.0%; a hand-over between lanes takes 0.300 us"
        in said.err
    )


def test_clusters_in_words() -> None:
    workload = Workload((chain("a", (4, 4, 4)), chain("b", (4,))))
    plain = sequential(workload, 3)
    schedule = Schedule(
        lanes=3,
        pointers=((2,), (0,)),
        clusters=(Cluster(((0, 1), (2,)), (1, 0)), Cluster(((0, 1, 2), (2,)), (0, 1), breadth=True)),
        chunks=((0, 2, 0), (1,)),
        first=plain.first,
        variants=((0, 0, 1), (0,)),
    )
    assert schedule_words(workload, schedule) == [
        "2 tenants on 3 lanes in 2 clusters",
        "cluster 0: a ops 0-1 on lanes 0, 1",
        "cluster 1: taking turns a ops 2-2 on lanes 0, 1, 2, then b ops 0-0 on lane 2",
        "2 of 4 ops are cut otherwise than once for each of their lanes; 1 of 4 kernels use another variant than "
        "the first",
    ]


def test_a_column_shows_who_runs_for_most_of_it() -> None:
    spans = (Span(0, 0, "x", 0, 0.0, 0.6, 0.0), Span(0, 1, "y", 0, 0.6, 1.0, 0.0), Span(1, 1, "y", 1, 0.75, 1.0, 0.75))
    track = Track("t", ("det", "seg"), 2, spans)
    assert timeline_text(track, 17) == [
        "lane 0 AAAAAABBBB",
        "lane 1 .......BBB",
        "A det, B seg; 1.00 s predicted, . is idle",
    ]


@given(randoms())
@quick
def test_every_timeline_fits_its_width(rng: random.Random) -> None:
    workload = random_workload(rng)
    lanes = rng.randint(1, 4)
    track = simulated("", workload, random_schedule(workload, lanes, rng), random_profile(rng, workload))
    width = rng.randint(17, 200)
    lines = timeline_text(track, width)
    assert [len(line) for line in lines[:-1]] == [width] * lanes
    letters = set("".join(line[7:] for line in lines[:-1])) - {"."}
    assert letters <= set("ABC"[: len(workload.tenants)])


def test_two_folders_are_no_artifact(cli: Cli, artifact: Path) -> None:
    said = cli("inspect", artifact, artifact)
    assert (said.code, said.err) == (2, f"error: {artifact}: a folder, an ONNX file is needed\n")


@pytest.mark.parametrize("spoiled", ["module.so", "schedule.json"])
def test_a_changed_artifact_is_refused(cli: Cli, artifact: Path, spoiled: str) -> None:
    (artifact / spoiled).write_bytes(b"other")
    said = cli("inspect", artifact)
    assert said.code == 2
    assert said.err.startswith(f"error: {artifact / spoiled}: ")
