"""What runs at the same time, over all moments of a timeline: sums of the running slices' figures, by time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Sweep:
    """`levels[i]` are the sums of the figures of the slices that run for `spans_s[i]` seconds.

    starts_s, ends_s of shape (slices,), figures of shape (slices, figures). Slices that take no time do not count.
    """

    def __init__(self, starts_s: Array, ends_s: Array, figures: Array) -> None:
        runs = ends_s > starts_s
        times = np.concatenate([starts_s[runs], ends_s[runs]])
        order = np.argsort(times, kind="stable")
        changes = np.concatenate([figures[runs], -figures[runs]])[order]
        # Sums of differences leave rounding errors behind; no figure is negative.
        self.levels: Array = np.maximum(np.cumsum(changes, axis=0)[:-1], 0.0)
        self.spans_s: Array = np.diff(times[order])

    def mean(self, values: Array, total_s: float) -> float:
        """Mean over `total_s` of a quantity with one value for each span."""
        return float(self.spans_s @ values) / total_s

    def peak(self, values: Array) -> float:
        held = values[self.spans_s > 0]
        return float(held.max()) if held.size else 0.0
