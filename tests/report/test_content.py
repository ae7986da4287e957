"""What the page shows is what the artifact and its trials say."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given

from gacer_tune.cost_model.timeline import simulate
from gacer_tune.errors import UserError
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.report.charts import Curve
from gacer_tune.report.content import FailureCount, collect
from gacer_tune.report.predicted import MOST, Predictions
from gacer_tune.report.track import recorded, simulated
from gacer_tune.report.trials import read_trials
from gacer_tune.report.verdict import Choice, Figures, Gain, verdict
from gacer_tune.search.seeds import alone_s
from gacer_tune.search.trial import Timing, Trial
from tests.report.support import NASTY, artifact, report, trials
from tests.support.workloads import quick, random_profile, random_workload, randoms


def test_a_report_gathers_everything() -> None:
    found = report()
    assert found.measured == ((0, 0.018), (2, 0.020), (3, 0.016), (6, 0.017))
    assert found.best == ((0, 0.018), (3, 0.016))
    assert found.failures == (FailureCount("timeout", 2, f"slow {NASTY}"), FailureCount("crash", 1, "signal 11"))
    assert [measured for _, measured in found.predictions[0].points] == [0.018, 0.020, 0.016, 0.017]
    assert [measured for _, measured in found.predictions[1].points] == [0.020, 0.017], "every second one is held out"
    assert found.curves == (Curve("evolve", ((0, 0.018), (2, 0.016)), 3),)
    assert found.completions == ((0.01, 0.018), (0.01, 0.02), (0.01, 0.016), (0.01, 0.017))
    assert found.environment == (
        ("target", "cpu"), ("isa", "avx2"), ("cpu", "A CPU"), ("caches", "L2 1.05 MB"), ("memory", "8.00 GB"),
        ("packages", "tvm 1"),
    )  # fmt: skip
    assert found.before.title == "best baseline: sequential"
    assert found.figures.rows[0] == Gain(NASTY, 0.02, 0.018, 0.015)


def test_predictions_are_few_and_skip_what_does_not_fit() -> None:
    made = artifact()
    schedule = made.schedules["sequential"]
    many = [Trial(schedule, Timing((0.01,), (0.01, 0.01)), "evolve", n) for n in range(5 * MOST + 1)]
    assert 0 < len(collect(made, many).predictions[0].points) <= MOST
    other = random_schedule(random_workload(random.Random(1)), 1, random.Random(1))
    strange = collect(made, [Trial(other, Timing((0.01,), (0.01,)), "evolve", 0)])
    assert strange.predictions == (Predictions(), Predictions())


def test_the_cost_model_is_judged_by_what_it_has_not_seen() -> None:
    """Times that the timeline orders the wrong way round, but that can be learned."""
    made, rng = artifact(), random.Random(5)
    drawn = list(dict.fromkeys(random_schedule(made.workload, 2, rng) for _ in range(120)))
    simulated_s = [simulate(made.workload, lower(made.workload, s), made.profile).makespan_s for s in drawn]
    log = [
        Trial(s, Timing((1e-4 / seconds,), (1e-5, 1e-4 / seconds)), "random", n)
        for n, (s, seconds) in enumerate(zip(drawn, simulated_s, strict=True))
    ]
    timeline, learned = collect(made, log).predictions
    assert timeline.accuracy < 0.1
    assert learned.accuracy > 0.6
    assert len(timeline.points) == len(drawn) and len(learned.points) == len(drawn) // 2


def test_strategies_in_one_journal_are_told_apart() -> None:
    made = artifact()
    log = [
        *trials(made.workload),
        *(replace(t, origin="evolve_spatial_only", number=t.number + 7) for t in trials(made.workload)[1:4]),
    ]
    curves = collect(made, log).curves
    assert [(c.name, c.trials) for c in curves] == [("evolve", 3), ("evolve spatial only", 2)]
    assert curves[1].best == ((0, 0.018), (2, 0.016)), "from the best baseline, by its own trials"


def test_slow_downs_are_against_the_time_alone() -> None:
    made = artifact()
    alone = alone_s(made.workload, made.profile, 2)
    assert collect(made, []).slow_downs == pytest.approx(tuple(0.015 / seconds for seconds in alone))
    assert (
        collect(artifact(rows=[{"name": "x", "sequential_s": 1, "lane_per_tenant_s": 1, "tuned_s": 1}]), []).slow_downs
        == ()
    )


def test_choices_and_the_end_of_the_search_come_from_the_manifest() -> None:
    front = [{"name": "front0", "tenants_s": [0.01, 0.02], "together_s": 0.02}]
    figures = Figures.from_manifest(artifact(front=front, stopped="enough").manifest)
    assert (figures.front, figures.stopped) == ((Choice("front0", (0.01, 0.02), 0.02),), "enough")
    assert (Figures.from_manifest(artifact().manifest).front, figures.rows[0].breadth_first_s) == ((), 0.0)


def test_without_trials_there_is_still_a_report() -> None:
    found = collect(artifact(), [])
    assert (found.measured, found.best, found.curves, found.failures) == ((), (), (), ())
    assert found.predictions == (Predictions(), Predictions())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "other"}, "schedule.json: no schedule 'other', it has sequential, best"),
        ({"objective": "beauty"}, "manifest.json: objective 'beauty', allowed: makespan, throughput, slo, fairness"),
        ({"speedup": "fast"}, "manifest.json: no figures of a tuning run: could not convert string to float: 'fast'"),
        ({"p_value": float("nan")}, "manifest.json: no figures of a tuning run: nan is no finite number"),
        ({"rows": [{}]}, "manifest.json: no figures of a tuning run: 'name' is missing"),
    ],
)
def test_an_artifact_that_says_too_little_is_refused(changes: dict[str, object], message: str) -> None:
    made = artifact(**changes)
    with pytest.raises(UserError) as refused:
        collect(made, trials(made.workload))
    assert str(refused.value).startswith(message)


def test_the_verdict_is_honest() -> None:
    won = Figures.from_manifest(artifact().manifest)
    assert verdict(won) == "1.20x faster than the best baseline (sequential), p = 0.001"
    lost = Figures.from_manifest(artifact(accepted=False, baseline="lane_per_tenant").manifest)
    assert verdict(lost) == "nothing better than lane per tenant was found (p = 0.001); it was written"


def test_a_gain_is_over_the_better_one() -> None:
    assert Gain("a", 0.03, 0.02, 0.01).gain == pytest.approx(2.0)
    assert Gain("a", 0.01, 0.02, 0.02).gain == pytest.approx(0.5)
    assert Gain("a", 0.0, 0.0, 0.0).gain == 1.0
    assert Gain("a", 0.03, 0.02, 0.01, breadth_first_s=0.015).gain == pytest.approx(1.5)


@given(randoms())
@quick
def test_a_simulated_track_is_the_timeline(rng: random.Random) -> None:
    workload = random_workload(rng)
    profile, schedule = random_profile(rng, workload), random_schedule(workload, rng.randint(1, 4), rng)
    track = simulated("t", workload, schedule, profile)
    plan = lower(workload, schedule)
    timeline = simulate(workload, plan, profile)
    assert [span.piece for span in track.spans] == list(plan.slices())
    assert track.end_s == timeline.makespan_s
    assert track.lanes == len(plan.lanes)
    for lane in range(track.lanes):
        row = [span for span in track.spans if span.lane == lane]
        assert sum(s.wait_s + s.end_s - s.begin_s for s in row) == pytest.approx(row[-1].end_s if row else 0.0)
        assert all(one.end_s <= other.begin_s for one, other in pairwise(row))
    assert all(0 <= share <= 1 + 1e-9 for share in track.busy)


def test_a_recorded_row_without_its_slice_is_kept() -> None:
    made = artifact()
    plan = lower(made.workload, made.schedules["sequential"])
    track = recorded("t", made.workload, plan, [(1, "op0", 0, 1, 0.5, 0.75)])
    assert [(s.lane, s.tenant, s.wait_s, s.piece) for s in track.spans] == [(1, 1, 0.5, None)]
    assert track.busy == pytest.approx((0.0, 1 / 3))


def test_trials_come_back_from_their_file(tmp_path: Path) -> None:
    workload = artifact().workload
    written, path = trials(workload), tmp_path / "trials.jsonl"
    assert read_trials(path) == []
    path.write_text("".join(json.dumps({"workload": workload.key, "trial": t.to_json()}) + "\n" for t in written))
    assert read_trials(path) == written
    path.write_text(path.read_text() + '{"workload": "k"}\n')
    with pytest.raises(UserError) as refused:
        read_trials(path)
    assert str(refused.value) == f"{path}: line {len(written) + 1} is no trial: 'trial'"
