"""Values as people read them: numbers with three significant digits and a unit that keeps them short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def seconds_text(seconds: float) -> str:
    """0.01234 -> `12.3 ms`; from 0 to hours."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 0.9995 or unit == "us":
            return f"{number_text(seconds * factor)} {unit}"
    raise AssertionError("the last unit always fits")


def interval_text(bounds: tuple[float, float]) -> str:
    """(0.01, 0.012) -> ` (95 % interval 10.0 ms to 12.0 ms)`; nothing where one value is all there is."""
    low, high = bounds
    return f" (95 % interval {seconds_text(low)} to {seconds_text(high)})" if low < high else ""


def tick_text(seconds: float) -> str:
    """The same for a round number on an axis: 0.02 -> `20 ms`."""
    number, _, unit = seconds_text(seconds).partition(" ")
    return f"{float(number):g} {unit}" if seconds else "0"


def nbytes_text(nbytes: float) -> str:
    """1234567 -> `1.23 MB`: powers of 1000."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes / factor >= 0.9995:
            return f"{number_text(nbytes / factor)} {unit}"
    return f"{nbytes:.0f} B"


def clock_text(seconds: float) -> str:
    """How long something lasts: `45 s`, `2 min 05 s`, `3 h 20 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def number_text(value: float) -> str:
    """Three significant digits, never in exponents: 1234.5 -> `1234`, 12.345 -> `12.3`, 0.5 -> `0.500`."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals if abs(value) >= 0.9995 or value == 0 else 3}f}"


def plain(value: Any) -> str:
    """Lists with commas, pairs with a space, nothing as `none`: [["L2", 1024]], {"L2": 1024} -> `L2 1024`."""
    if isinstance(value, Mapping):
        return plain(list(value.items()))
    if isinstance(value, (list, tuple)):
        parts = [" ".join(map(str, item)) if isinstance(item, (list, tuple)) else str(item) for item in value]
        return ", ".join(parts) or "none"
    return "none" if value in (None, "") else str(value)
