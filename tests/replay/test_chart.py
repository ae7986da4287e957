from __future__ import annotations

import re

from tests.replay.chart import PAGE, chart, curves

TABLE = """
| mix | cores | sequential | one lane per tenant | breadth first | tuned | over sequential | over best |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| a+b | 8 | 2.00 ms | 2.13 ms | 1.99 ms | 1.92 ms | 1.04 | 1.03 |
| a+b | 64 | 0.68 ms | 0.49 ms | 0.67 ms | 0.49 ms | 1.40 | 1.00 |
| c | 8 | 2.00 ms | 2.13 ms | 1.99 ms | 1.92 ms | 1.00 | 1.00 |
"""


def test_the_table_is_read_and_drawn() -> None:
    assert curves(TABLE) == {"a+b": [(8, 1.04), (64, 1.40)], "c": [(8, 1.00)]}
    lines = re.findall(r'points="([^"]*)"', chart(curves(TABLE)))
    (first, last), (flat,) = ([tuple(map(float, p.split(","))) for p in line.split()] for line in lines)
    assert first[0] < last[0] and first[1] > last[1], "more cores, more gain"
    assert flat[0] == first[0] and flat[1] > first[1]


def test_the_image_is_that_of_the_page() -> None:
    found = curves(PAGE.read_text())
    assert len(found) >= 3
    assert PAGE.with_suffix(".svg").read_text() == chart(found)
