"""Lanes as rows, slices as rectangles in the colour of their tenant."""

from __future__ import annotations

from html import escape

from gacer_tune.report import svg
from gacer_tune.report.track import Span, Track
from gacer_tune.report.units import seconds_text, tick_text

WIDTH = 1000.0
_LEFT, _RIGHT = 96.0, 30.0
_ROW, _GAP, _AXIS = 30.0, 6.0, 26.0
_MIN_LETTER = 12.0


def lanes_svg(track: Track, until_s: float) -> str:
    """The track on a scale that ends at `until_s`, so that two tracks can be compared by eye."""
    height = track.lanes * (_ROW + _GAP) + _AXIS
    scale = (WIDTH - _LEFT - _RIGHT) / until_s if until_s > 0 else 0.0
    parts = _axis(until_s, scale, height - _AXIS)
    for lane, busy in enumerate(track.busy):
        top = lane * (_ROW + _GAP)
        parts.append(svg.text((0, top + 13), f"lane {lane}"))
        parts.append(svg.text((0, top + 26), f"{busy:.0%} busy", css="quiet"))
        parts.append(_rect(_LEFT, top, (WIDTH - _LEFT - _RIGHT, _ROW), 'class="idle"'))
    for span in track.spans:
        parts += _slice(track, span, scale)
    end = _LEFT + track.end_s * scale
    parts.append(svg.line((end, 0), (end, height - _AXIS), "end"))
    return svg.figure((WIDTH, height), f"{track.title}: {seconds_text(track.end_s)}", parts)


def _slice(track: Track, span: Span, scale: float) -> list[str]:
    left, top = _LEFT + span.begin_s * scale, span.lane * (_ROW + _GAP)
    width = max((span.end_s - span.begin_s) * scale, 0.4)
    tip = escape(_tip(track, span))
    parts = [_rect(left, top, (width, _ROW), f'fill="{svg.colour(span.tenant)}" class="slice" data-tip="{tip}"')]
    if width >= _MIN_LETTER:
        parts.append(svg.text((left + width / 2, top + _ROW / 2 + 4), svg.letter(span.tenant), "middle", "letter"))
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
    parts = []
    for at in svg.ticks(until_s, 8):
        x = _LEFT + at * scale
        parts.append(svg.line((x, 0), (x, bottom), "grid"))
        parts.append(svg.text((x, bottom + 16), tick_text(at), "middle", "quiet"))
    return parts


def _rect(left: float, top: float, size: tuple[float, float], rest: str) -> str:
    return f'<rect x="{left:.2f}" y="{top:.1f}" width="{size[0]:.2f}" height="{size[1]:.1f}" {rest}/>'
