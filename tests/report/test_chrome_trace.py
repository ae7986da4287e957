"""The trace that Perfetto opens."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given

from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.report.chrome_trace import chrome_trace
from gacer_tune.report.track import Span, Track, simulated
from tests.support.workloads import quick, random_profile, random_workload, randoms


@given(randoms())
@quick
def test_each_slice_is_one_complete_event_on_its_lane(rng: random.Random) -> None:
    workload = random_workload(rng)
    lanes = rng.randint(1, 4)
    track = simulated("best", workload, random_schedule(workload, lanes, rng), random_profile(rng, workload))
    trace = json.loads(json.dumps(chrome_trace(track), allow_nan=False))
    events = trace["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert {event["ph"] for event in events} <= {"M", "X"}
    assert len(slices) == len(track.spans)
    for event, span in zip(slices, track.spans, strict=True):
        assert (event["tid"], event["name"], event["cat"]) == (span.lane, span.op, track.tenants[span.tenant])
        assert event["ts"] == pytest.approx(span.begin_s * 1e6)
        assert event["dur"] == pytest.approx((span.end_s - span.begin_s) * 1e6)
        assert event["args"]["hi"] > event["args"]["lo"] >= 0
    named = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert named == {lane: f"lane {lane}" for lane in range(lanes)}


def test_a_slice_that_is_not_known_has_no_range() -> None:
    track = Track("t", ("det",), 1, (Span(0, 0, "conv", 2, 0.001, 0.003, 0.001),))
    event = chrome_trace(track)["traceEvents"][-1]
    assert event == {
        "name": "conv", "cat": "det", "ph": "X", "pid": 1, "tid": 0, "ts": 1000.0, "dur": 2000.0,
        "args": {"tenant": "det", "kernel": 2, "idle before (us)": 1000.0},
    }  # fmt: skip
