"""The page: complete, self-contained, and unable to run what a name says."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.report import svg
from gacer_tune.report.html import report_html
from gacer_tune.report.timeline_svg import WIDTH, lanes_html, lanes_svg
from gacer_tune.report.track import Span, Track
from gacer_tune.report.units import clock_text, nbytes_text, number_text, seconds_text, tick_text
from tests.report.support import NASTY, report

_VOID = {"meta", "rect", "line", "circle", "polyline", "polygon"}


class _Page(HTMLParser):
    """Tags with their attributes; fails where a tag is closed that is not open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def page() -> _Page:
    made = _Page(report_html(report()))
    assert made.open == []
    return made


def test_the_page_needs_nothing_else(page: _Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in {"link", "img", "iframe", "base", "object", "form"}
        assert not {"src", "href", "xlink:href", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    text = "".join(page.words)
    assert not re.search(r"https?:|url\(|@import|fetch|innerHTML|document\.write|eval", text)
    policies = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"]


def test_names_are_text(page: _Page) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 1
    tips = [attributes["data-tip"] for _, attributes in page.tags if "data-tip" in attributes]
    assert any(f"tenant {NASTY}, lane" in str(tip) for tip in tips)
    assert "".join(page.words).count(NASTY) == 4  # title, table, legend, first failure
    assert "<img" not in report_html(report())


def test_the_gain_leads(page: _Page) -> None:
    text = " ".join(page.words)
    assert "1.20x faster than the best baseline (sequential), p = 0.001" in text
    assert "18.0 ms before, 15.0 ms after. 6 trials, 2 of them failed, in 1 min 01 s" in text
    assert "The search ended" not in text
    assert text.index("1.20x") < text.index("Tenants") < text.index("Lanes") < text.index("Search")


def test_the_spread_of_the_result_is_told() -> None:
    text = report_html(report(interval_s=[0.0148, 0.0153]))
    assert "15.0 ms after (95 % interval 14.8 ms to 15.3 ms). 6 trials" in text
    assert "15.0 ms after. 6 trials" in report_html(report(interval_s=[0.015, 0.015])), "one run has no spread"


def test_no_gain_is_no_number_above_one() -> None:
    page = report_html(report(accepted=False, speedup=1.01))
    assert '<p class="number">1.00x</p>' in page
    assert "nothing better than sequential was found (p = 0.001); it was written" in page


def test_light_and_dark_define_the_same_colours(page: _Page) -> None:
    style = next(words for words in page.words if ":root" in words)
    light, dark = (set(re.findall(r"--[a-z0-9]+(?=:)", part)) for part in style.split("@media")[:2])
    assert light == dark
    assert {f"--t{number}" for number in range(svg.COLOURS)} <= light
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", report_html(report())))
    assert used <= light


def test_slices_lie_where_they_ran() -> None:
    spans = (Span(0, 0, "conv", 0, 0.0, 0.5, 0.0), Span(1, 1, "gemm", 3, 0.5, 1.0, 0.5))
    made = _Page(lanes_svg(Track("t", ("a", "b"), 2, spans), 2.0))
    slices = [attributes for _, attributes in made.tags if attributes.get("class") == "slice"]
    left, width = (float(str(slices[0][key])) for key in ("x", "width"))
    assert float(str(slices[1]["x"])) == pytest.approx(left + width, abs=0.02)
    assert float(str(slices[1]["width"])) == pytest.approx(width, abs=0.02)
    assert left + 4 * width <= WIDTH  # the scale ends at 2 s
    assert float(str(slices[1]["y"])) > float(str(slices[0]["y"]))
    assert slices[1]["data-tip"] == "gemm, kernel 3\ntenant b, lane 1\n500 ms, from 500 ms\nlane idle for 500 ms before"


def test_what_is_shown_only_when_zoomed_is_there_and_hidden() -> None:
    """1000 slices on one lane: too narrow for letters at first, wide enough for them later."""
    spans = tuple(Span(0, 0, "op", 0, n * 1e-3, (n + 1) * 1e-3, 0.0) for n in range(1000))
    made = _Page(lanes_html(Track("t", ("a",), 1, spans), 1.0))
    letters = [attributes for tag, attributes in made.tags if tag == "text" and "letter" in str(attributes["class"])]
    assert len(letters) == 1000
    assert {str(attributes["class"]) for attributes in letters} == {"letter hidden"}
    assert all(float(str(attributes["data-w"])) == pytest.approx(1.0, abs=0.05) for attributes in letters)
    ticks = [str(attributes["class"]) for tag, attributes in made.tags if tag == "line"]
    assert 4 <= ticks.count("grid") <= 9
    assert ticks.count("grid fine") >= 3 * ticks.count("grid")
    assert "lane 0" in made.words and "100% busy" in made.words


def test_the_page_zooms_both_tracks(page: _Page) -> None:
    """Every part of the page that the script looks for is there."""
    script = next(words for words in page.words if "querySelectorAll" in words)
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert set(re.findall(r'getElementById\("(\w+)"\)', script)) <= ids
    classes = " ".join(str(attributes.get("class")) for _, attributes in page.tags).split()
    assert classes.count("frame") == 2 and "letter" in classes
    assert [a["data-zoom"] for _, a in page.tags if "data-zoom" in a] == ["0.5", "2", "0"]


def test_choices_are_offered_where_there_are_any(page: _Page) -> None:
    front = [
        {"name": "best", "tenants_s": [0.01, 0.02], "together_s": 0.02},
        {"name": "front0", "tenants_s": [0.02, 0.01], "together_s": 0.02},
    ]
    text = report_html(report(front=front, stopped="enough & done"))
    assert _Page(text).open == []
    assert "--schedule front0" in text and "The search ended: enough &amp; done." in text
    assert text.count("<b>10.0 ms</b>") == 2 and "<td><b>20.0 ms</b></td>" in text
    assert "Choices" not in "".join(page.words)


def test_tips_tell_variant_slice_and_waits(page: _Page) -> None:
    tips = [str(attributes["data-tip"]) for _, attributes in page.tags if "data-tip" in attributes]
    assert any(re.search(r"variant \d+, slice \d+-\d+, cluster \d+", tip) for tip in tips)
    assert any(re.search(r"waits for \d+ slices of lane \d", tip) for tip in tips)


@given(st.floats(1e-9, 1e9))
def test_ticks_are_round_and_few(top: float) -> None:
    found = svg.ticks(top)
    assert found[0] == 0
    assert 2 <= len(found) <= 7
    assert found[-1] <= top * (1 + 1e-6)
    assert found[-1] + found[1] > top * (1 - 1e-6)


def test_nothing_has_one_tick() -> None:
    assert svg.ticks(0.0) == [0.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (seconds_text(0.01234), "12.3 ms"), (seconds_text(0), "0.00 us"), (seconds_text(1.5e-6), "1.50 us"),
        (seconds_text(0.99999), "1.00 s"), (seconds_text(75.25), "75.2 s"), (seconds_text(2e-8), "0.020 us"),
        (nbytes_text(0), "0 B"), (nbytes_text(999), "999 B"), (nbytes_text(1_234_567), "1.23 MB"),
        (clock_text(45), "45 s"), (clock_text(125), "2 min 05 s"), (clock_text(12_000), "3 h 20 min"),
        (clock_text(-1), "0 s"), (tick_text(0.02), "20 ms"), (tick_text(0), "0"), (number_text(1234.5), "1234"),
    ],
)  # fmt: skip
def test_numbers_are_short(text: str, expected: str) -> None:
    assert text == expected


@given(st.floats(1e-6, 1e5))
def test_seconds_keep_their_value(seconds: float) -> None:
    number, _, unit = seconds_text(seconds).partition(" ")
    assert float(number) * {"s": 1, "ms": 1e-3, "us": 1e-6}[unit] == pytest.approx(seconds, rel=6e-3)
