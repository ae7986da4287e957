"""How good predictions are, by the yardsticks of the field. Arrays of shape (plans,), seconds, above 0."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


def pairwise_accuracy(predicted: Seconds, measured: Seconds) -> float:
    """Share of the pairs with different measurements that the predictions order rightly; half of 1 by guessing.

    A pair that is predicted equal counts half. 1.0 where there is no pair.
    """
    wanted = np.sign(measured[:, None] - measured[None, :])
    given = np.sign(predicted[:, None] - predicted[None, :])
    pairs = np.triu(wanted != 0, k=1)
    if not pairs.any():
        return 1.0
    return float(np.mean((1.0 + (wanted * given)[pairs]) / 2.0))


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
