"""How well plans are ranked that the model has not seen: other plans of a known workload, and other workloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from gacer_tune.cost_model import quality
from gacer_tune.cost_model.features import Vector
from gacer_tune.cost_model.model import MIN_SAMPLES, CostModel, fit
from gacer_tune.errors import UserError
from gacer_tune.learning.samples import Samples

FOLDS = 5
RECALL_AT = 10
MOST_NOISE = 0.08  # a measurement with a larger error does not say how good a plan is: nobody is asked about it


@dataclass(frozen=True, slots=True)
class Figures:
    """pairwise: share of the pairs that differ by more than the noise which are ordered rightly; near: the same among
    plans within 15 % of the fastest. peak1, peak5: fastest measured over the fastest of the 1 or 5 predicted fastest.
    recall: share of the 10 fastest among the 10 predicted fastest. mape: mean absolute error of the predicted seconds.
    """

    pairwise: float
    near: float
    peak1: float
    peak5: float
    recall: float
    spearman: float
    kendall: float
    mape: float


@dataclass(frozen=True, slots=True)
class Row:
    """One workload: plans asked about, plans left out for their noise, share of pairs within the noise; figures of the
    timeline alone, of the timeline and a model of other plans of this workload, and of one of other workloads."""

    name: str
    plans: int
    left_out: int
    pairs_within_noise: float
    timeline: Figures
    known: Figures | None
    unseen: Figures | None


def evaluate(groups: Sequence[Samples]) -> list[Row]:
    """A row for each workload. `known` is None below MIN_SAMPLES x 5/4 plans, `unseen` where there is one workload.

    Raises UserError where a workload has fewer than two plans to ask about.
    """
    return [_row(group, [other for other in groups if other.group != group.group]) for group in groups]


def mean(figures: Sequence[Figures]) -> Figures:
    return Figures(*(float(np.mean([getattr(f, field.name) for f in figures])) for field in fields(Figures)))


def figures(predicted_s: Vector, measured_s: Vector, noise: Vector) -> Figures:
    near = measured_s <= 1.15 * measured_s.min()
    return Figures(
        quality.pairwise_accuracy(predicted_s, measured_s, noise),
        quality.pairwise_accuracy(predicted_s[near], measured_s[near], noise[near]),
        quality.peak_at(1, predicted_s, measured_s),
        quality.peak_at(5, predicted_s, measured_s),
        quality.recall_at(RECALL_AT, predicted_s, measured_s),
        quality.spearman(predicted_s, measured_s),
        quality.kendall(predicted_s, measured_s),
        quality.mape(predicted_s, measured_s),
    )


def _row(group: Samples, others: Sequence[Samples]) -> Row:
    asked = group.kept(np.flatnonzero(group.noise <= MOST_NOISE))
    if len(asked) < 2:
        raise UserError(f"{group.name}: {len(asked)} plans with a steady measurement, at least 2")
    judge = partial(figures, measured_s=asked.measured_s, noise=asked.noise)
    pairs = len(asked) * (len(asked) - 1) / 2
    distinct = float(quality.distinct_pairs(asked.measured_s, asked.noise).sum())
    return Row(
        group.name,
        len(asked),
        len(group) - len(asked),
        1 - distinct / pairs,
        judge(asked.simulated_s),
        judge(held_out_plans(asked)) if len(asked) * (FOLDS - 1) >= MIN_SAMPLES * FOLDS else None,
        judge(held_out_workload(asked, others)) if others else None,
    )


def held_out_plans(group: Samples, seed: int = 0) -> Vector:
    """Seconds of each plan, predicted by a model of the other four fifths of the plans."""
    folds = np.random.default_rng(seed).permutation(len(group)) % FOLDS
    predicted = np.zeros(len(group))
    for fold in range(FOLDS):
        asked = np.flatnonzero(folds == fold)
        model = fit(group.at(np.flatnonzero(folds != fold)), seed)
        predicted[asked] = _seconds(model, group.kept(asked))
    return predicted


def held_out_workload(group: Samples, others: Sequence[Samples], seed: int = 0) -> Vector:
    """Seconds of each plan, predicted by a model of other workloads only."""
    return _seconds(fit([sample for other in others for sample in other.every()], seed), group)


def _seconds(model: CostModel, group: Samples) -> Vector:
    return model.predict(group.features).seconds(group.simulated_s.tolist())
