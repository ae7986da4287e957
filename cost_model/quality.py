"""How good predictions are, by the yardsticks of the field. Arrays of shape (plans,), seconds, above 0."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]

CONFIDENCE = 2.0  # standard errors of their difference by which two measurements must differ to count as different


def pairwise_accuracy(predicted: Seconds, measured: Seconds, noise: Seconds | None = None) -> float:
    """Share of the pairs with different measurements that the predictions order rightly; half of 1 by guessing.

    noise[i] is the standard error of measurement i, as a share of it: pairs that differ by less than CONFIDENCE times
    the error of their difference do not count, for nobody knows their order. A pair that is predicted equal counts
    half. 1.0 where there is no pair.
    """
    pairs = distinct_pairs(measured, noise)
    if not pairs.any():
        return 1.0
    wanted = np.sign(measured[:, None] - measured[None, :])[pairs]
    given = np.sign(predicted[:, None] - predicted[None, :])[pairs]
    return float(np.mean((1.0 + wanted * given) / 2.0))


def distinct_pairs(measured: Seconds, noise: Seconds | None = None) -> npt.NDArray[np.bool_]:
    """Upper triangle of a matrix: True where the measurements of a pair differ by more than the noise."""
    logs = np.log(measured)
    errors = np.zeros(len(measured)) if noise is None else noise
    threshold = CONFIDENCE * np.hypot(errors[:, None], errors[None, :])
    pairs: npt.NDArray[np.bool_] = np.triu(np.abs(logs[:, None] - logs[None, :]) > threshold, k=1)
    return pairs


def peak_at(k: int, predicted: Seconds, measured: Seconds) -> float:
    """Best measurement of all over the best among the k predicted fastest: 1.0 when the best one is among them."""
    chosen = np.argsort(predicted, kind="stable")[:k]
    return float(measured.min() / measured[chosen].min())


def recall_at(k: int, predicted: Seconds, measured: Seconds) -> float:
    """Share of the k fastest that are among the k predicted fastest."""
    k = min(k, len(measured))
    chosen = set(np.argsort(predicted, kind="stable")[:k].tolist())
    return len(chosen & set(np.argsort(measured, kind="stable")[:k].tolist())) / k


def mape(predicted: Seconds, measured: Seconds) -> float:
    """Mean absolute error as a share of the measurement."""
    return float(np.mean(np.abs(predicted - measured) / measured))


def spearman(predicted: Seconds, measured: Seconds) -> float:
    """Rank correlation, -1 to 1; equal values share their mean rank. 0.0 where one of the two does not vary."""
    ranks = [_ranks(values) for values in (predicted, measured)]
    spreads = [float(np.std(rank)) for rank in ranks]
    if not all(spreads):
        return 0.0
    return float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())) / (spreads[0] * spreads[1]))


def kendall(predicted: Seconds, measured: Seconds) -> float:
    """Kendall's tau-b, -1 to 1: pairs that agree less pairs that do not. 0.0 where one of the two does not vary."""
    upper = np.triu_indices(len(measured), k=1)
    signs = [np.sign(values[:, None] - values[None, :])[upper] for values in (predicted, measured)]
    pairs = float(np.count_nonzero(signs[0])) * float(np.count_nonzero(signs[1]))
    return float(np.sum(signs[0] * signs[1]) / np.sqrt(pairs)) if pairs else 0.0


def _ranks(values: Seconds) -> Seconds:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: Seconds = np.cumsum(counts) - (counts - 1) / 2
    return means[inverse.reshape(-1)]
