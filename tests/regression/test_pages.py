"""The summary of a pull request, the test report and the history of times: golden texts, and names that bite."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.checking import Difference
from gacer_tune.regression.benchmark_json import benchmark_json
from gacer_tune.regression.change import Change
from gacer_tune.regression.check import Check, Options
from gacer_tune.regression.junit import junit
from gacer_tune.regression.markdown import escaped, markdown
from gacer_tune.regression.times import Verdict
from gacer_tune.regression.wording import headline, notes
from tests.regression.support import ROWS, checked
from tests.support.workloads import quick

FOLDER = Path(__file__).parent

# What the schema that CI systems share (that of Jenkins' xunit plugin) says of each element.
REQUIRED = {"testsuite": {"name", "tests"}, "testcase": {"name", "classname"}}
ALLOWED = {
    "testsuites": {"name", "time", "tests", "failures", "errors", "disabled"},
    "testsuite": {
        "name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package",
    },
    "testcase": {"name", "assertions", "time", "classname", "status", "class", "file", "line"},
    "failure": {"type", "message"},
    "skipped": {"message", "type"},
    "system-out": set(),
}  # fmt: skip
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase", "properties", "system-out", "system-err"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}


def valid(text: bytes) -> ElementTree.Element:
    """The document, once it has been held against the schema and its counts against what they count."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.keys()) <= ALLOWED[element.tag]
        assert REQUIRED.get(element.tag, set()) <= set(element.keys())
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    for suite in [root, *root.findall("testsuite")]:
        assert int(suite.get("tests", "")) == len(list(suite.iter("testcase")))
        assert int(suite.get("failures", "")) == len(list(suite.iter("failure")))
        assert suite.tag == "testsuites" or int(suite.get("skipped", "")) == len(list(suite.iter("skipped")))
    return root


def test_golden_markdown() -> None:
    assert markdown(checked()) == (FOLDER / "golden.md").read_text()


def test_golden_junit() -> None:
    found = junit(checked())
    valid(found)
    assert found.decode() == (FOLDER / "golden.xml").read_text()


def test_golden_benchmark_json() -> None:
    assert json.loads(benchmark_json(ROWS)) == [
        {
            "name": "det", "unit": "ms", "value": 12.5, "range": "± 0.1",
            "extra": "baseline 10 ms\nratio 1.250 (1.240-1.260)\np slower 0.0005",
        },
        {
            "name": "together", "unit": "ms", "value": 24.0, "range": "± 0.3",
            "extra": "baseline 20 ms\nratio 1.200 (1.190-1.220)\np slower 0.0002",
        },
    ]  # fmt: skip


CALM = (replace(ROWS[1], ratio=1.02, verdict="same"),)
FEWER = checked().changes[:1]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rows": CALM}, "no regression: as fast as the baseline within the band (2.0 % slower); 2 decisions changed"),
        (
            {"rows": CALM, "changes": ()},
            "no regression: as fast as the baseline within the band (2.0 % slower); the same decisions",
        ),
        (
            {"rows": (replace(ROWS[1], verdict="unclear"),), "changes": FEWER},
            "no regression: 20.0 % slower in the median, but the noise is larger; 1 decision changed",
        ),
        (
            {"rows": (replace(ROWS[1], ratio=0.8, verdict="faster"),), "changes": FEWER},
            "no regression: 20.0 % faster than the baseline; 1 decision changed",
        ),
        ({"rows": (), "outputs": (), "changes": ()}, "no regression: times were not compared; the same decisions"),
        (
            {"rows": CALM, "outputs": (Difference("det", "y", 0.5), Difference("seg", "y", 0.0))},
            "regression: 1 of 2 outputs differ from the baseline's",
        ),
        ({"rows": CALM, "options": Options(strict=True)}, "regression: 2 decisions changed, none may"),
    ],
)
def test_the_headline_says_what_matters(fields: dict[str, object], expected: str) -> None:
    found = checked(**fields)
    assert headline(found) == expected
    assert found.regressed == expected.startswith("regression")
    assert markdown(found).startswith(f"### gacer-tune: {escaped(expected)}\n")


def test_a_wrong_output_fails_its_case_also_when_it_is_no_number() -> None:
    for error in (0.5, float("inf"), float("nan")):
        found = checked(rows=CALM, outputs=(Difference("det", "y", error), Difference("seg", "y", 0.0)))
        assert found.regressed
        cases = {case.get("name"): case for case in valid(junit(found)).iter("testcase")}
        assert cases["det/y"].find("failure") is not None
        assert cases["seg/y"].find("failure") is None
        assert "- det/y: " in markdown(found)


def test_strict_decisions_fail_where_they_changed() -> None:
    found = checked(rows=CALM, options=Options(strict=True))
    failing = {c.get("name") for c in valid(junit(found)).iter("testcase") if c.find("failure") is not None}
    assert failing == {"all tenants", "det"}
    (text,) = [case.findtext("failure") for case in valid(junit(found)).iter("testcase") if case.get("name") == "det"]
    assert text == "det: chunks of 1 of 3 ops: op_1 4 (was one a lane)"


def test_what_was_not_compared_is_skipped_and_says_why() -> None:
    found = checked(rows=(), outputs=(), obstacles=("other models: a (was b)",))
    skipped = [case.find("skipped") for case in valid(junit(found)).iter("testcase")]
    messages = [element.get("message") for element in skipped if element is not None]
    assert messages == ["times and outputs were not compared: other models: a (was b)"] * 2
    assert "> times and outputs were not compared: other models: a (was b)" in markdown(found)


def test_notes() -> None:
    assert notes(checked()) == []
    assert notes(checked(others=0.5)) == [
        "other processes or guests of the host used 0.5 cores meanwhile: check again on a quiet machine"
    ]
    asked = checked(options=Options(times="no"), rows=(), outputs=())
    assert notes(asked) == ["times and outputs were not compared: decisions only were asked for"]


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@quick
@given(NAMES, st.sampled_from(["slower", "faster", "same", "unclear"]))
def test_no_name_breaks_a_page(name: str, verdict: Verdict) -> None:
    found: Check = checked(
        tenants=(name,),
        changes=(Change("schedule", "lanes", name, "0", "1"),),
        rows=(replace(ROWS[0], name=name), replace(ROWS[1], verdict=verdict)),
        outputs=(Difference(name, name, 1.0),),
    )
    valid(junit(found))
    lines = markdown(found).splitlines()
    cells = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")]
    assert set(cells) == {7}
    assert not any(
        "<"
        in line.replace("<details>", "").replace("</details>", "").replace("<summary>", "").replace("</summary>", "")
        for line in lines
    )


def test_escaping() -> None:
    assert escaped("a_b|c\n<img src=x> `d` *e* [f](g) #1 @me & \\") == (
        "a\\_b\\|c &lt;img src=x&gt; \\`d\\` \\*e\\* \\[f\\](g) \\#1 \\@me &amp; \\\\"
    )
