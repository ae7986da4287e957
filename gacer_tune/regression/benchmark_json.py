"""Times as `customSmallerIsBetter` of github-action-benchmark, for a chart over the history of a branch."""

from __future__ import annotations

import json
from collections.abc import Sequence

from gacer_tune.regression.times import Row
from gacer_tune.regression.wording import ratio_text


def benchmark_json(rows: Sequence[Row]) -> str:
    """One entry for each row, in milliseconds; `range` is half of the middle half of the ratios, on that scale."""
    return json.dumps([_entry(row) for row in rows], indent=2) + "\n"


def _entry(row: Row) -> dict[str, str | float]:
    half = (row.high - row.low) / 2 * row.baseline_s
    return {
        "name": row.name,
        "unit": "ms",
        "value": round(row.seconds * 1e3, 6),
        "range": f"± {half * 1e3:.3g}",
        "extra": f"baseline {row.baseline_s * 1e3:.6g} ms\nratio {ratio_text(row)}\np slower {row.p_slower:.2g}",
    }
