"""The frame that all charts share."""

from __future__ import annotations

from gacer_tune.report import svg
from gacer_tune.report.units import tick_text

SIZE = (480.0, 300.0)
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 24.0, 12.0, 40.0  # to the right: half of a label of the last tick


class Axes:
    """Maps values to places. x from `left` to `right`, y from 0 to `top`; what is beyond is drawn at the edge."""

    def __init__(self, right: float, top: float, least: tuple[float, float] = (0.0, 0.0)) -> None:
        self.least = least
        self.right, self.top = max(right, least[0]) or 1.0, max(top, least[1]) or 1.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        across, down = SIZE[0] - _LEFT - _RIGHT, SIZE[1] - _TOP - _BOTTOM
        part_x = (x - self.least[0]) / ((self.right - self.least[0]) or 1.0)
        part_y = (min(y, self.top) - self.least[1]) / ((self.top - self.least[1]) or 1.0)
        return _LEFT + across * min(max(part_x, 0.0), 1.0), _TOP + down * (1 - max(part_y, 0.0))

    def frame(self, name: str, x_is_time: bool, y_is_time: bool = True) -> list[str]:
        """Grid, numbers, and the name of the axis across."""
        parts = []
        for y in svg.ticks(self.top):
            if y < self.least[1]:
                continue
            parts.append(svg.line(self.at(self.least[0], y), self.at(self.right, y), "grid"))
            left, down = self.at(self.least[0], y)
            label = tick_text(y) if y_is_time else f"{y:g}"
            parts.append(svg.text((left - 6, down + 4), label, "end", "quiet"))
        for x in svg.ticks(self.right):
            if x < self.least[0]:
                continue
            left, down = self.at(x, self.least[1])
            label = tick_text(x) if x_is_time else f"{x:g}"
            parts.append(svg.text((left, down + 16), label, "middle", "quiet"))
        parts.append(svg.text((SIZE[0] - _RIGHT, SIZE[1] - 6), name, "end", "quiet"))
        return parts
