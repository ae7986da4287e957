"""Weights that are whole multiples of one number for each output: those of quantized models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gacer_tune.lowering.graph import Array

_MOST = 127  # of a weight
_NEAR = 1e-3  # of a whole number
_SAMPLE = 64  # weights of a row that are looked at first


def whole_multiples(rows: Array) -> tuple[NDArray[np.int8], NDArray[np.float64]] | None:
    """Whole numbers of -128 to 127 and a scale for each row whose products are the rows, up to rounding; None where
    there are none.

    Which multiple the largest number of a row is, is not known: it is tried as 127, 126, ... times the scale.
    """
    largest = np.abs(rows).max(axis=1, initial=0).astype(np.float64)
    scales = np.ones(len(rows))
    left = np.flatnonzero(largest)
    for most in (*range(_MOST, 0, -1), _MOST + 1):
        if not len(left):
            break
        tried = largest[left] / most
        fitting = _near(rows[left, :_SAMPLE], tried)
        fitting[fitting] = _near(rows[left[fitting]], tried[fitting])
        scales[left[fitting]] = tried[fitting]
        left = left[~fitting]
    if len(left):
        return None
    whole = np.rint(rows / scales[:, None])
    return (whole.astype(np.int8), scales) if whole.max(initial=0) <= _MOST else None


def _near(rows: Array, scales: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows are whole multiples of their scales."""
    times = rows / scales[:, None]
    near: NDArray[np.bool_] = np.abs(times - np.rint(times)).max(axis=1, initial=0) < _NEAR
    return near
