"""Cases of the ONNX standard over all operators give the outputs that it ships, or are refused in so many words."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import groupby

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gacer_tune.errors import UserError
from tests.conformance.cases import Case, Form, cases, forms
from tests.conformance.children import outcomes
from tests.conformance.judging import Outcome, attempt, judge

PARTS = 4  # that processes may share

# The package computes the outputs of its cases when they are read, infinities among them.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:onnx.backend.test")


@cache
def chosen() -> list[Case]:
    """Of each operator the case in the middle of its names."""
    found, _ = cases()
    groups = [list(group) for _, group in groupby(sorted(found, key=lambda case: case.group), lambda case: case.group)]
    return [group[len(group) // 2] for group in groups if "/" not in group[0].group]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_operator_is_wrong_or_crashes(part: int) -> None:
    wanted = [form for case in chosen()[part::PARTS] for form in forms(case)]
    found = dict(zip(map(str, wanted), judge(wanted), strict=True))
    counts = Counter(outcome.verdict for outcome in found.values())
    assert {name: outcome for name, outcome in found.items() if outcome.verdict in ("wrong", "crash")} == {}
    assert 3 * counts["right"] >= len(wanted)


def double(wanted: object, name: str = "double") -> Form:
    """A case that doubles 1 and 2."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Form(Case(name, "Add", proto, (np.array([1, 2], np.float32),), (np.asarray(wanted),), 1e-3, 1e-7), False)


def test_what_is_not_as_the_case_says_is_wrong() -> None:
    values = [np.array(one, np.float32) for one in ([2, 4], [2, 4.1], [[2, 4]])]
    found = judge([*map(double, values), double(np.array([2, 4]))])
    assert [outcome.message for outcome in found] == [
        "",
        "y: 1 of 2 differ, first at (1,): 4.0, not 4.099999904632568",
        "y: float32 (2,), not float32 (1, 2)",
        "y: float32 (2,), not int64 (2,)",
    ]


def test_what_raises_is_refused_or_a_crash() -> None:
    def refuse() -> None:
        raise UserError("no")

    assert attempt(refuse) == Outcome("refused", "no")
    crash = attempt(lambda: onnx.load("/nowhere/at.all"))
    assert isinstance(crash, Outcome) and crash.verdict == "crash" and crash.message.startswith("FileNotFoundError")


def test_a_form_that_ends_its_process_costs_itself_only() -> None:
    batch = [double([2, 4], name) for name in ("one", "bad", "two", "three")]

    def deadly(forms: Sequence[Form]) -> list[Outcome]:
        if any(form.case.name == "bad" for form in forms):
            os.kill(os.getpid(), signal.SIGKILL)
        return [Outcome("right", form.case.name) for form in forms]

    found = list(outcomes(batch, deadly))
    assert [outcome.verdict for outcome in found] == ["right", "crash", "right", "right"]
    assert [found[i].message for i in (0, 2, 3)] == ["one", "two", "three"]


def test_constants_are_all_inputs_but_the_first() -> None:
    given, constant = forms(next(case for case in chosen() if len(case.inputs) == 3))
    assert len(given.feeds) == 3 and list(constant.feeds) == list(given.feeds)[:1]
    assert [item.name for item in constant.model.graph.initializer] == list(given.feeds)[1:]
    assert [item.name for item in constant.model.graph.input] == list(constant.feeds)
