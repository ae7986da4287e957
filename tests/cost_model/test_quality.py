import numpy as np
import pytest

from gacer_tune.cost_model.quality import mape, pairwise_accuracy, peak_at, recall_at

MEASURED = np.array([4.0, 1.0, 3.0, 2.0])


def test_perfect_and_worst_predictions() -> None:
    assert pairwise_accuracy(MEASURED * 7, MEASURED) == 1.0
    assert pairwise_accuracy(-MEASURED, MEASURED) == 0.0
    assert peak_at(1, MEASURED, MEASURED) == 1.0
    assert recall_at(2, MEASURED, MEASURED) == 1.0
    assert mape(MEASURED, MEASURED) == 0.0


def test_figures_by_hand() -> None:
    predicted = np.array([4.0, 3.0, 1.0, 2.0])  # of the six pairs, (1, 2), (1, 3) and (2, 3) are the wrong way round
    assert pairwise_accuracy(predicted, MEASURED) == pytest.approx(3 / 6)
    assert peak_at(1, predicted, MEASURED) == pytest.approx(1 / 3)
    assert peak_at(2, predicted, MEASURED) == pytest.approx(1 / 2)
    assert peak_at(3, predicted, MEASURED) == 1.0
    assert recall_at(2, predicted, MEASURED) == pytest.approx(1 / 2)
    assert recall_at(99, predicted, MEASURED) == 1.0
    assert mape(predicted, MEASURED) == pytest.approx((0 + 2 + 2 / 3 + 0) / 4)


def test_ties() -> None:
    assert pairwise_accuracy(np.ones(4), MEASURED) == 0.5
    assert pairwise_accuracy(MEASURED, np.ones(4)) == 1.0
