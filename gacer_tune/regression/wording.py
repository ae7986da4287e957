"""A check in sentences, the same ones on the terminal, in the summary of a pull request and in test reports."""

from __future__ import annotations

from gacer_tune.bench.others import warning
from gacer_tune.regression.check import Check
from gacer_tune.regression.times import Row
from gacer_tune.report.units import seconds_text


def headline(check: Check) -> str:
    """`regression: 12 % slower than the baseline (p = 0.001)`."""
    return f"regression: {'; '.join(reasons(check))}" if check.regressed else f"no regression: {_calm(check)}"


def reasons(check: Check) -> list[str]:
    """Why it is one."""
    found = [f"{_share(row)} (p = {row.p_slower:.2g})" for row in check.slower]
    if check.wrong:
        found.append(f"{len(check.wrong)} of {len(check.outputs)} outputs differ from the baseline's")
    if check.forbidden:
        found.append(f"{counted(len(check.forbidden), 'decision')} changed, none may")
    return found


def _calm(check: Check) -> str:
    decisive = next((row for row in check.rows if row.decides), None)
    times = _share(decisive) if decisive else "times were not compared"
    count = len(check.of("schedule"))
    decisions = f"{counted(count, 'decision')} changed" if count else "the same decisions"
    return f"{times}; {decisions}"


def _share(row: Row) -> str:
    """The row that decides, against the baseline."""
    percent = abs(row.ratio - 1) * 100
    side = "slower" if row.ratio >= 1 else "faster"
    texts = {
        "same": f"as fast as the baseline within the band ({percent:.1f} % {side})",
        "unclear": f"{percent:.1f} % {side} in the median, but the noise is larger",
    }
    return texts.get(row.verdict, f"{percent:.1f} % {side} than the baseline")


def ratio_text(row: Row) -> str:
    """`1.043 (1.021-1.066)`: median and middle half over the pairs."""
    return f"{row.ratio:.3f} ({row.low:.3f}-{row.high:.3f})"


def times_text(row: Row) -> tuple[str, str]:
    return seconds_text(row.baseline_s), seconds_text(row.seconds)


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def notes(check: Check) -> list[str]:
    """What one must know to believe the times, or why there are none."""
    found = [f"times and outputs were not compared: {reason}" for reason in check.obstacles]
    if check.options.times == "no":
        found.append("times and outputs were not compared: decisions only were asked for")
    if busy := warning(check.others):
        found.append(f"{busy}: check again on a quiet machine")
    return found
