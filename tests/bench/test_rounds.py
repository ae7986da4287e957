"""Turns: who runs when, and what is timed of it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.bench.others import Usage, machine_s
from gacer_tune.bench.rounds import SETTLE_S, WAKE_S, WARM_S, Rounds, interleave, settle, warm_up
from tests.bench.support import Stage
from tests.support.workloads import quick


def test_each_turn_times_one_run_after_waking() -> None:
    stage = Stage()
    systems = [stage.system("a", [0.010, 0.001]), stage.system("b", [0.030, 0.002])]
    seconds = interleave(systems, Rounds(4), stage.clock)
    # The first run of a turn takes long and is not timed.
    assert list(seconds) == ["a", "b"]
    assert seconds["a"] == pytest.approx((0.001,) * 4)
    assert seconds["b"] == pytest.approx((0.002,) * 4)
    assert stage.settled == 8
    turns = stage.ran[::2]
    assert stage.ran[1::2] == turns, "two runs a turn"
    assert [set(turns[i : i + 2]) for i in range(0, 8, 2)] == [{"a", "b"}] * 4


def test_short_runs_are_woken_for_longer() -> None:
    stage = Stage()
    interleave([stage.system("a", [WAKE_S / 5])], Rounds(1), stage.clock)
    assert 5 <= len(stage.ran) - 1 <= 6


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 9), st.data())
@quick
def test_every_system_has_its_turns(count: int, systems: int, seed: int, data: st.DataObject) -> None:
    few = {f"s{n}": data.draw(st.integers(1, 8)) for n in range(systems) if data.draw(st.booleans())}

    def once() -> tuple[Stage, dict[str, tuple[float, ...]]]:
        stage = Stage()
        made = [stage.system(f"s{n}", [1.0 + n]) for n in range(systems)]
        return stage, interleave(made, Rounds(count, seed, few), stage.clock)

    (stage, seconds), (again, _) = once(), once()
    assert stage.ran == again.ran, "the order depends on the seed only"
    for number in range(systems):
        name = f"s{number}"
        turns = min(count, few.get(name, count))
        assert seconds[name] == pytest.approx((1.0 + number,) * turns)
        assert Counter(stage.ran)[name] == turns * (1 if name in few else 2)


def test_the_order_changes_from_round_to_round() -> None:
    stage = Stage()
    interleave([stage.system(name, [1.0]) for name in "abc"], Rounds(20), stage.clock)
    turns = stage.ran[::2]
    orders = {tuple(turns[i : i + 3]) for i in range(0, 60, 3)}
    assert len(orders) == 6


def test_warming_up_ends_when_runs_are_alike() -> None:
    stage = Stage()
    assert warm_up(stage.system("a", [0.2, 0.1, 0.101, 0.102, 9.0]), stage.clock) == pytest.approx(0.102)
    assert len(stage.ran) == 4


def test_warming_up_ends_some_day() -> None:
    stage = Stage()
    warm_up(stage.system("a", [0.1, 0.2]), stage.clock)
    assert WARM_S <= stage.time_s <= WARM_S + 0.2
    slow = Stage()
    warm_up(slow.system("b", [WARM_S + 1]), slow.clock)
    assert slow.ran == ["b"]


def test_settling_waits_for_threads_that_spin() -> None:
    until = time.perf_counter() + 0.15
    began = Usage.now()

    def spin() -> None:
        while time.perf_counter() < until:
            pass

    worker = threading.Thread(target=spin)
    worker.start()
    settle()
    assert time.perf_counter() >= until
    worker.join()
    rested = time.perf_counter()
    settle()
    assert time.perf_counter() - rested < SETTLE_S, "it has not given up"
    assert Usage.now().own_s - began.own_s > 0.05


def test_what_others_use_is_what_we_did_not() -> None:
    before, after = Usage(10.0, 100.0, 5.0), Usage(14.0, 110.0, 7.0)
    assert after.others_since(before) == pytest.approx(2.0)
    assert Usage(14.0, 101.0, 7.0).others_since(before) == 0.0
    assert before.others_since(before) == 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    assert machine_s(f"cpu  {ticks} 2 3 400 500 6 7 8 90 10\ncpu0 1 1\n") == pytest.approx(1 + 26 / ticks)
    now = Usage.now()
    assert now.machine_s > now.own_s > 0
