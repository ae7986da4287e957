"""Lanes as lines of letters, one letter for each tenant."""

from __future__ import annotations

from gacer_tune.report.svg import letter
from gacer_tune.report.track import Track
from gacer_tune.report.units import seconds_text

_IDLE = "."
_LEAST = 10


def timeline_text(track: Track, width: int) -> list[str]:
    """One line for each lane, no longer than `width`, then who the letters are and how long the line lasts.

    A column shows the tenant that runs for most of its time, `.` where the lane is idle for longer than any runs.
    """
    label = len(f"lane {track.lanes - 1} ")
    columns = max(_LEAST, width - label)
    lines = [f"{f'lane {lane} ':<{label}}{row}" for lane, row in enumerate(_rows(track, columns))]
    letters = ", ".join(f"{letter(number)} {name}" for number, name in enumerate(track.tenants))
    return [*lines, f"{letters}; {seconds_text(track.end_s)} predicted, {_IDLE} is idle"]


def _rows(track: Track, columns: int) -> list[str]:
    each_s = track.end_s / columns
    time_s = [[[0.0] * (len(track.tenants) + 1) for _ in range(columns)] for _ in range(track.lanes)]
    for span in track.spans:
        first = min(int(span.begin_s / each_s), columns - 1) if each_s > 0 else 0
        last = min(int(span.end_s / each_s), columns - 1) if each_s > 0 else 0
        for column in range(first, last + 1):
            inside = min(span.end_s, (column + 1) * each_s) - max(span.begin_s, column * each_s)
            time_s[span.lane][column][span.tenant] += max(0.0, inside)
    return ["".join(_column(shares, each_s) for shares in lane) for lane in time_s]


def _column(shares: list[float], each_s: float) -> str:
    """The last share is that of idleness."""
    whole = [*shares[:-1], each_s - sum(shares)]
    longest = max(range(len(whole)), key=lambda number: whole[number])
    return _IDLE if longest == len(whole) - 1 else letter(longest)
