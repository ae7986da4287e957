"""Recordings freed of what the machine did meanwhile.

On a machine that is shared with others one and the same plan takes half as long again for seconds at a time. While a
mix was recorded, an anchor, always the same plan, was measured again and again: trials between two anchors that agree
are scaled to the anchor's usual time, trials between two that do not are left out.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import pairwise

from gacer_tune.learning.recording import Recording
from gacer_tune.search.trial import Timing, Trial

ANCHOR = "anchor"
AGREED = 0.05  # anchors that differ by less have seen the same machine
USUAL = 0.25  # a machine that is further from its usual self runs other plans in other proportions


def steady(recording: Recording) -> Recording:
    """The recording without anchors; unchanged where there are none."""
    timed = [(trial, trial.result) for trial in recording.trials if isinstance(trial.result, Timing)]
    anchors = [(trial.number, timing.median_s) for trial, timing in timed if trial.origin == ANCHOR]
    if not anchors:
        return recording
    usual = statistics.median(seconds for _, seconds in anchors)
    kept: list[Trial] = []
    for (first, before), (last, after) in pairwise(anchors):
        near = max(before, after) / min(before, after) - 1 <= AGREED
        factor = 2 * usual / (before + after)
        if near and abs(factor - 1) <= USUAL:
            between = ((trial, timing) for trial, timing in timed if first < trial.number < last)
            kept += [replace(trial, result=_scaled(timing, factor)) for trial, timing in between]
    return replace(recording, trials=tuple(kept))


def _scaled(timing: Timing, factor: float) -> Timing:
    return Timing(tuple(s * factor for s in timing.seconds), tuple(s * factor for s in timing.tenants_s))
