import json
import random

import numpy as np
import pytest

from gacer_tune.cost_model.costs import Costs
from gacer_tune.cost_model.features import FEATURES_VERSION, NAMES, Extractor
from gacer_tune.cost_model.model import MIN_SAMPLES, CostModel, Sample, fit
from gacer_tune.cost_model.quality import pairwise_accuracy
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.trial import Timing
from tests.support.workloads import chain, random_profile


def made_up(count: int, seed: int = 0) -> list[Sample]:
    """Plans that take twice their simulated time where the fourth feature is above 0.5, else as long as simulated."""
    rng = np.random.default_rng(seed)
    matrix = rng.random((count, len(NAMES)))
    return [Sample(row, 0.01, 0.02 if row[3] > 0.5 else 0.01) for row in matrix]


FITTED = fit(made_up(200))
PROBES = np.stack([sample.features for sample in made_up(40, seed=1)])


def test_below_sixteen_samples_the_timeline_answers_alone() -> None:
    model = fit(made_up(MIN_SAMPLES - 1))
    prediction = model.predict(PROBES)
    assert model.samples == 0
    assert prediction.seconds([0.5] * len(PROBES)).tolist() == [0.5] * len(PROBES)
    assert not prediction.spread.any()
    assert fit(made_up(MIN_SAMPLES)).samples == MIN_SAMPLES


def test_the_correction_is_learned() -> None:
    prediction = FITTED.predict(PROBES)
    slow = PROBES[:, 3] > 0.5
    clear = np.abs(PROBES[:, 3] - 0.5) > 0.05
    assert np.allclose(prediction.seconds([0.01] * 40)[slow & clear], 0.02, rtol=0.3)
    assert np.allclose(prediction.seconds([0.01] * 40)[~slow & clear], 0.01, rtol=0.3)


def test_members_disagree_more_about_what_is_uncertain() -> None:
    rng = np.random.default_rng(5)
    noisy = [Sample(s.features, s.simulated_s, s.measured_s * rng.lognormal(0.0, 0.5)) for s in made_up(200)]
    steady = FITTED.predict(PROBES).spread
    assert steady.min() >= 0.0
    assert fit(noisy).predict(PROBES).spread.mean() > 2 * steady.mean() > 0.0


def test_equal_samples_and_seeds_give_equal_models() -> None:
    assert np.array_equal(fit(made_up(200)).predict(PROBES).log_ratio, FITTED.predict(PROBES).log_ratio)
    assert not np.array_equal(fit(made_up(200), seed=9).predict(PROBES).log_ratio, FITTED.predict(PROBES).log_ratio)


def test_nothing_to_predict() -> None:
    assert FITTED.predict(np.empty((0, len(NAMES)))).log_ratio.shape == (0,)


CORRECTED = fit([Sample(s.features, s.simulated_s, 3 * s.measured_s) for s in made_up(100, seed=2)], prior=FITTED)


def test_a_prior_answers_until_there_are_samples_and_is_corrected_by_them() -> None:
    few = fit(made_up(MIN_SAMPLES - 1), prior=FITTED)
    assert np.array_equal(few.predict(PROBES).log_ratio, FITTED.predict(PROBES).log_ratio)
    gained = CORRECTED.predict(PROBES).log_ratio - FITTED.predict(PROBES).log_ratio
    assert np.median(gained) == pytest.approx(np.log(3), abs=0.05)
    assert (CORRECTED.predict(PROBES).spread >= FITTED.predict(PROBES).spread).all()


def test_what_all_plans_of_a_group_have_in_common_is_not_learned() -> None:
    """Group b is ten times slower throughout, and its third feature says so: it must not explain a's plans."""
    plans = made_up(200)
    marked = [
        Sample(np.where(np.arange(len(NAMES)) == 2, 1.0, s.features), s.simulated_s, 10 * s.measured_s, "b")
        for s in made_up(200, seed=3)
    ]
    probe = np.where(np.arange(len(NAMES)) == 2, 1.0, PROBES)
    model = fit([*plans, *marked])
    assert np.abs(model.predict(probe).log_ratio - model.predict(PROBES).log_ratio).max() < 0.3


def test_slow_plans_weigh_less() -> None:
    """Half of the equal plans took 1.5, the others 15 times the simulated time: the answer leans to the fast ones."""
    row = np.zeros(len(NAMES))
    mixed = [Sample(row, 0.01, 0.015 if number % 2 else 0.15) for number in range(200)]
    answer = fit(mixed).predict(row[None, :]).log_ratio[0]
    assert answer < (np.log(1.5) + np.log(15)) / 2 - 0.5


@pytest.mark.parametrize("model", [FITTED, CostModel(), CORRECTED], ids=["fitted", "unfitted", "corrected"])
def test_a_model_survives_its_bytes(model: CostModel) -> None:
    data = model.to_bytes()
    again = CostModel.from_bytes(data)
    assert again.samples == model.samples
    assert np.array_equal(again.predict(PROBES).log_ratio, model.predict(PROBES).log_ratio)
    assert np.array_equal(again.predict(PROBES).spread, model.predict(PROBES).spread)
    assert again.to_bytes() == data


def with_header(**changes: object) -> bytes:
    line, _, members = FITTED.to_bytes().partition(b"\n")
    return json.dumps(json.loads(line) | changes).encode() + b"\n" + members


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (with_header(features=FEATURES_VERSION + 1), "cost model for features 4: this version has 3"),
        (with_header(format=7), "cost model format 7: this version reads 2"),
        (with_header(sizes=[1]), "damaged"),
        (FITTED.to_bytes()[:-1], "damaged"),
        (FITTED.to_bytes()[:-1] + b"x", "damaged"),
        (b"", "no header"),
        (b"\x00\xff\n", "no header"),
        (b"[]\n", "no header"),
    ],
)
def test_other_versions_and_damage_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CostModel.from_bytes(data)


def test_features_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="features: 3 a sample"):
        fit([Sample(np.zeros(3), 1.0, 1.0)] * MIN_SAMPLES)


def test_held_out_plans_are_ranked_better_than_by_the_timeline() -> None:
    """Y6, on a device whose contention the timeline does not know: learned on 120 random plans, asked about 80."""
    rng = random.Random(3)
    workload = Workload(tuple(chain(f"t{t}", (4, 2, 8, 3, 4, 1), variants=2) for t in range(3)))
    profile = random_profile(rng, workload, contention=0.2)
    device = SimulatedDevice(workload, profile, lanes=2, contention=1.5, seed=3)
    samples, extractor = [], Extractor(workload, Costs(workload, profile, 2))
    for _ in range(200):
        schedule = random_schedule(workload, 2, rng)
        plan = lower(workload, schedule)
        timeline = simulate(workload, plan, profile)
        measured = device.measure(schedule, 1)
        assert isinstance(measured, Timing)
        samples.append(Sample(extractor.of(plan, timeline), timeline.makespan_s, measured.median_s))
    asked = samples[120:]
    simulated = np.array([sample.simulated_s for sample in asked])
    measured_s = np.array([sample.measured_s for sample in asked])
    prediction = fit(samples[:120]).predict(np.stack([sample.features for sample in asked]))
    learned = pairwise_accuracy(prediction.seconds(simulated.tolist()), measured_s)
    by_timeline = pairwise_accuracy(simulated, measured_s)
    assert learned > 0.8
    assert learned > by_timeline + 0.1
