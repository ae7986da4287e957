"""Statistics over rounds whose times are known."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.bench.compare import FEW, measure
from gacer_tune.bench.figures import Comparison, lines
from gacer_tune.bench.rounds import silent
from gacer_tune.checking import TOLERANCE
from tests.bench.support import Stage
from tests.support.workloads import quick

NAMES = {
    "ours": "ours",
    "ours sequential": "ours",
    "a sequential": "a",
    "a parallel": "a",
    "b sequential": "b",
}


def comparison(seconds: Mapping[str, tuple[float, ...]], **changes: object) -> Comparison:
    made = lines({name: NAMES[name] for name in seconds}, seconds)
    empty: Comparison = Comparison(("t",), made, {}, {}, {}, {}, len(seconds["ours"]), 0.0)
    return replace(empty, **changes)  # type: ignore[arg-type]


def test_ratios_are_of_rounds_not_of_medians() -> None:
    # The machine is slower in every second round, for all; b lasts 1.5 times as long as ours in each of them.
    ours = (1.0, 4.0, 1.0, 4.0, 1.0, 4.0)
    found = comparison(
        {
            "ours": ours,
            "ours sequential": tuple(s * 1.25 for s in ours),
            "a sequential": tuple(s * 2 for s in ours),
            "a parallel": tuple(s * 0.5 for s in ours),
            "b sequential": tuple(s * 1.5 for s in ours),
        }
    )
    assert {line.name: line.ratio for line in found.lines} == pytest.approx(
        {"ours": 1.0, "ours sequential": 1.25, "a sequential": 2.0, "a parallel": 0.5, "b sequential": 1.5}
    )
    assert found.line("b sequential").p_value == pytest.approx(1 / 2**6)
    assert found.line("a parallel").p_value == 1.0
    assert found.line("ours").p_value == 1.0
    assert found.line("ours").median_s == 2.5
    assert found.line("ours").min_s == 1.0
    assert found.line("ours").iqr_s == 3.0
    assert {peer: line.name for peer, line in found.peers.items()} == {"a": "a parallel", "b": "b sequential"}
    assert found.best_peer.name == "a parallel"


def test_fewer_rounds_are_paired_with_the_first_ones() -> None:
    found = lines({"ours": "ours", "a": "a"}, {"ours": (1.0, 2.0, 9.0, 9.0), "a": (10.0, 20.0)})
    assert (found[1].ratio, found[1].rounds, found[1].median_s) == (10.0, 2, 15.0)
    single = lines({"ours": "ours"}, {"ours": (1.0,)})[0]
    assert (single.iqr_s, single.p_value, single.rounds) == (0.0, 1.0, 1)


@given(st.lists(st.floats(1e-5, 10), min_size=2, max_size=30), st.floats(0.1, 10))
@quick
def test_a_constant_factor_is_found_whatever_the_machine_does(ours: list[float], factor: float) -> None:
    found = lines({"ours": "ours", "a": "a"}, {"ours": ours, "a": [s * factor for s in ours]})
    assert found[1].ratio == pytest.approx(factor)
    assert found[0].min_s <= found[0].median_s
    assert found[0].iqr_s <= max(ours) - min(ours)
    assert found[0].median_s == statistics.median(ours)


def test_the_document_has_what_machines_read() -> None:
    seconds = {
        "ours": (1.0, 1.0),
        "ours sequential": (1.5, 1.5),
        "a sequential": (2.0, 2.0),
        "b sequential": (3.0, 3.0),
    }
    found = comparison(seconds, errors={"a sequential": {"t/y": TOLERANCE / 2}}).document()
    assert found["ours_s"] == 1.0
    assert found["ours_sequential_s"] == 1.5
    assert found["peers"] == {"a sequential": 2.0, "b sequential": 3.0}
    assert (found["best_peer"], found["ratio_best_peer"]) == ("a sequential", 2.0)
    assert found["ratio_per_peer"] == {"a": 2.0, "b": 3.0}
    assert found["wrong"] == ()


@pytest.mark.parametrize("error", [2 * TOLERANCE, float("inf"), float("nan")])
def test_wrong_results_are_named(error: float) -> None:
    errors = {"ours sequential": {"t/y": 0.0}, "a sequential": {"t/y": error, "t/z": TOLERANCE}}
    found = comparison({"ours": (1.0,), "ours sequential": (1.0,), "a sequential": (1.0,)}, errors=errors)
    assert found.wrong == ("a sequential: t/y",)


def test_measuring_compares_results_first_and_gives_slow_systems_few_rounds() -> None:
    stage = Stage()
    systems = [
        stage.system("ours", [0.1], "ours"),
        stage.system("ours sequential", [0.2], "ours"),
        stage.system("a sequential", [0.9], "a", value=1.5),
        stage.system("b sequential", [1.1], "b"),
    ]
    errors, seconds = measure(systems, 8, 0, stage.clock, silent)
    assert errors == {
        "ours sequential": {"t/y": 0.0},
        "a sequential": {"t/y": pytest.approx(1 / 3)},
        "b sequential": {"t/y": 0.0},
    }
    assert stage.ran[:4] == ["ours", "ours sequential", "a sequential", "b sequential"]
    # 1.1 s is more than ten times ours and more than half a second; 0.9 s is not.
    assert {name: len(row) for name, row in seconds.items()} == {
        "ours": 8, "ours sequential": 8, "a sequential": 8, "b sequential": FEW
    }  # fmt: skip
