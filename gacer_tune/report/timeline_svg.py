"""Lanes as rows, slices as rectangles in the colour of their tenant.

The image is as wide as its frame at first; the page's script widens it, and the frame scrolls. Heights are in pixels
and do not change, so that the names beside it stay level with their lanes.
"""

from __future__ import annotations

from html import escape

from gacer_tune.report import svg
from gacer_tune.report.track import Span, Track
from gacer_tune.report.units import seconds_text, tick_text

WIDTH = 1000.0
_MARGIN = 12.0  # for the words under the first and the last tick
_ROW, _GAP, _AXIS = 30.0, 6.0, 26.0
_MIN_LETTER = 12.0  # units or, when the image is wider, pixels
_ZOOM = 32  # slices that become as wide as a letter at this zoom get one
_TICKS, _FINE = 8, 8  # ticks at first, and how many times as many when zoomed


def lanes_html(track: Track, until_s: float) -> str:
    """The names of the lanes, and beside them the image in a frame that scrolls."""
    names = "".join(
        f'<li>lane {lane}<span class="quiet">{busy:.0%} busy</span></li>' for lane, busy in enumerate(track.busy)
    )
    return f'<div class="lanes"><ul>{names}</ul><div class="frame" tabindex="0">{lanes_svg(track, until_s)}</div></div>'


def lanes_svg(track: Track, until_s: float) -> str:
    """The track on a scale that ends at `until_s`, so that two tracks can be compared by eye."""
    height = track.lanes * (_ROW + _GAP) + _AXIS
    scale = (WIDTH - 2 * _MARGIN) / until_s if until_s > 0 else 0.0
    parts = []
    for lane in range(track.lanes):
        parts.append(_rect(_MARGIN, lane * (_ROW + _GAP), (WIDTH - 2 * _MARGIN, _ROW), 'class="idle"'))
    parts += _axis(until_s, scale, height - _AXIS)
    for span in track.spans:
        parts += _slice(track, span, scale)
    end = _MARGIN + track.end_s * scale
    parts.append(svg.line((end, 0), (end, height - _AXIS), "end"))
    label = escape(f"{track.title}: {seconds_text(track.end_s)}")
    return (
        f'<svg class="time" viewBox="0 0 {WIDTH:g} {height:g}" preserveAspectRatio="none" style="height:{height:g}px" '
        f'role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _slice(track: Track, span: Span, scale: float) -> list[str]:
    left, top = _MARGIN + span.begin_s * scale, span.lane * (_ROW + _GAP)
    width = max((span.end_s - span.begin_s) * scale, 0.4)
    tip = escape(_tip(track, span))
    parts = [_rect(left, top, (width, _ROW), f'fill="{svg.colour(span.tenant)}" class="slice" data-tip="{tip}"')]
    if width >= _MIN_LETTER / _ZOOM:
        hidden = "" if width >= _MIN_LETTER else " hidden"
        letter = svg.text((left + width / 2, top + _ROW / 2 + 4), svg.letter(span.tenant), "middle", f"letter{hidden}")
        parts.append(letter.replace("<text", f'<text data-w="{width:.1f}"', 1))
    return parts


def _tip(track: Track, span: Span) -> str:
    lines = [f"{span.op}, kernel {span.kernel}", f"tenant {track.tenants[span.tenant]}, lane {span.lane}"]
    if span.piece is not None:
        piece = span.piece
        lines.append(f"variant {piece.variant}, slice {piece.lo}-{piece.hi}, cluster {piece.cluster}")
        lines += [f"waits for {wait.count} slices of lane {wait.lane}" for wait in piece.waits]
    lines.append(f"{seconds_text(span.end_s - span.begin_s)}, from {seconds_text(span.begin_s)}")
    if span.wait_s > 0:
        lines.append(f"lane idle for {seconds_text(span.wait_s)} before")
    return "\n".join(lines)


def _axis(until_s: float, scale: float, bottom: float) -> list[str]:
    """Ticks, and finer ones that are shown when the image is wide."""
    coarse = [f"{at:.9g}" for at in svg.ticks(until_s, _TICKS)]
    parts = []
    for at in svg.ticks(until_s, _TICKS * _FINE):
        x = _MARGIN + at * scale
        fine = "" if f"{at:.9g}" in coarse else " fine"
        parts.append(svg.line((x, 0), (x, bottom), f"grid{fine}"))
        parts.append(svg.text((x, bottom + 16), tick_text(at), "middle", f"quiet{fine}"))
    return parts


def _rect(left: float, top: float, size: tuple[float, float], rest: str) -> str:
    return f'<rect x="{left:.3f}" y="{top:.1f}" width="{size[0]:.3f}" height="{size[1]:.1f}" {rest}/>'
