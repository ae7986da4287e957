import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Workload, canonical
from gacer_tune.search.trial import (
    Failure,
    FailureKind,
    Timing,
    Trial,
    checked,
    merged,
    result_from_json,
    result_json,
)
from tests.support.workloads import chain, quick

SCHEDULE = sequential(Workload((chain("a", (4,)),)), 2)
KINDS: tuple[FailureKind, ...] = ("crash", "timeout", "memory", "wrong-output", "illegal", "invalid-time", "busy")

times = st.floats(1e-9, 1e3)


def over_json(trial: Trial) -> Trial:
    return Trial.from_json(json.loads(canonical(trial.to_json())))


@quick
@given(st.lists(times, min_size=1, max_size=20).map(tuple), st.lists(times, max_size=3).map(tuple), times)
def test_a_timing_survives_json(seconds: tuple[float, ...], tenants_s: tuple[float, ...], at_s: float) -> None:
    trial = Trial(SCHEDULE, Timing(seconds, tenants_s), "evolve", 7, at_s)
    assert over_json(trial) == trial


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_survives_json(kind: FailureKind) -> None:
    trial = Trial(SCHEDULE, Failure(kind, "signal 11"), "random", 0)
    assert over_json(trial) == trial


def test_median_and_spread_by_hand() -> None:
    timing = Timing((1.0, 9.0, 2.0, 3.0, 4.0), ())
    assert timing.median_s == 3.0
    assert timing.spread == pytest.approx((4.0 - 2.0) / 3.0)
    assert Timing((2.0,), ()).spread == 0.0
    assert Timing((2.0,) * 9, ()).spread == 0.0


def test_medians_and_tails_of_runs_by_hand() -> None:
    """20 runs in which tenant 0 is done at 1 to 20: the 95th percentile lies 0.05 above the 19th."""
    completions = [(float(i + 1), 7.0) for i in range(20)]
    timing = Timing.of_runs([20.0] * 20, completions[::-1])
    assert timing.tenants_s == (10.5, 7.0)
    assert timing.tails_s == (pytest.approx(19.05), 7.0)
    assert Timing((1.0,), (0.5, 0.7)).tails_s == (0.5, 0.7), "only medians are known"
    assert Timing.of_runs([1.0], [(0.5, 0.7)]).tails_s == (0.5, 0.7)


@quick
@given(st.lists(st.tuples(times, times), min_size=1, max_size=9), times)
def test_runs_survive_json_and_their_tails_lie_between_median_and_worst(
    completions: list[tuple[float, float]], at_s: float
) -> None:
    timing = Timing.of_runs([max(row) for row in completions], completions)
    trial = Trial(SCHEDULE, timing, "evolve", 7, at_s)
    assert over_json(trial) == trial
    for tenant in range(2):
        assert timing.tenants_s[tenant] <= timing.tails_s[tenant] <= max(row[tenant] for row in completions)


def test_completions_belong_to_runs_and_tenants() -> None:
    assert checked(Timing.of_runs([1.0, 2.0], [(1.0,), (2.0,)])) == Timing((1.0, 2.0), (1.5,), ((1.0,), (2.0,)))
    for wrong in (((1.0,),), ((1.0,), (1.0, 2.0))):
        failed = checked(Timing((1.0, 2.0), (1.5,), wrong))
        assert isinstance(failed, Failure) and failed.kind == "invalid-time"
    assert isinstance(checked(Timing((1.0,), (1.0,), ((math.nan,),))), Failure)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_times_that_cannot_be_are_failures(bad: float) -> None:
    assert checked(Timing((1.0, bad), ())) == Failure("invalid-time", f"a run of {bad} s, a finite number above 0")
    data = json.loads(json.dumps(Trial(SCHEDULE, Timing((bad,), ()), "evolve", 1).to_json()))
    read = Trial.from_json(data)
    assert isinstance(read.result, Failure)
    assert read.result.kind == "invalid-time"


def test_a_tenant_may_be_done_at_once_but_not_before() -> None:
    assert checked(Timing((1.0,), (0.0, 1.0))) == Timing((1.0,), (0.0, 1.0))
    failed = checked(Timing((1.0,), (1.0, -0.5)))
    assert failed == Failure("invalid-time", "tenant 1 done at -0.5 s, a finite number not below 0")
    assert checked(Timing((), ())) == Failure("invalid-time", "no run was timed")


def test_what_is_no_trial_is_refused() -> None:
    trial = Trial(SCHEDULE, Failure("crash", "x"), "evolve", 0)
    with pytest.raises(ValueError, match="trial format 0: this version reads 1"):
        Trial.from_json(trial.to_json() | {"format": 0})
    with pytest.raises(ValueError, match="failure 'bored': one of crash, timeout"):
        result_from_json({"failure": {"kind": "bored", "message": ""}})
    with pytest.raises(KeyError):
        result_from_json({})


def test_merging_keeps_every_run() -> None:
    both = merged(Timing((1.0, 2.0, 3.0), (1.0, 2.0)), Timing((5.0,), (5.0, 2.0)))
    assert both == Timing((1.0, 2.0, 3.0, 5.0), (2.0, 2.0))


def test_merging_known_runs_keeps_their_completions() -> None:
    both = merged(Timing.of_runs([1.0, 3.0], [(1.0,), (3.0,)]), Timing.of_runs([8.0], [(8.0,)]))
    assert both == Timing.of_runs([1.0, 3.0, 8.0], [(1.0,), (3.0,), (8.0,)])
    assert both.tenants_s == (3.0,), "the median of all runs, not the mean of two medians"


def test_what_was_timed_beside_an_anchor_keeps_both() -> None:
    """The anchor usually takes 2 s; beside the second run it took 3 s, so that one took 6 s by the clock."""
    timing = Timing.of_runs((4.0, 4.0), ((1.0, 4.0), (2.0, 4.0)))
    anchored = replace(timing, anchors_s=(2.0, 3.0), usual_s=2.0)
    assert anchored.raw_s == (4.0, 6.0)
    assert timing.raw_s == timing.seconds
    assert result_from_json(json.loads(json.dumps(result_json(anchored)))) == anchored
    assert "anchors_s" not in result_json(timing)["timing"], "as in journals of earlier versions"
    both = merged(anchored, anchored)
    assert (both.anchors_s, both.usual_s, both.median_s) == ((2.0, 3.0, 2.0, 3.0), 2.0, 4.0)


@pytest.mark.parametrize(
    ("anchors_s", "usual_s"), [((2.0,), 2.0), ((2.0, 0.0), 2.0), ((2.0, math.nan), 2.0), ((2.0, 3.0), 0.0)]
)
def test_anchors_that_cannot_be_are_a_failure(anchors_s: tuple[float, ...], usual_s: float) -> None:
    found = checked(Timing((4.0, 4.0), (4.0,), (), anchors_s, usual_s))
    assert found == Failure("invalid-time", "anchors: not one finite number above 0 for each run")
