"""A track in the Trace Event format that Perfetto (ui.perfetto.dev) and chrome://tracing open."""

from __future__ import annotations

from typing import Any

from gacer_tune.report.track import Span, Track


def chrome_trace(track: Track) -> dict[str, Any]:
    """JSON values: one process, one thread for each lane, one complete event for each slice, times in microseconds."""
    return {
        "displayTimeUnit": "ms",
        "otherData": {"title": track.title},
        "traceEvents": [*_metadata(track), *(_event(track, span) for span in track.spans)],
    }


def _metadata(track: Track) -> list[dict[str, Any]]:
    names: list[tuple[str, int, dict[str, Any]]] = [("process_name", 0, {"name": f"gacer-tune: {track.title}"})]
    for lane in range(track.lanes):
        names += [("thread_name", lane, {"name": f"lane {lane}"}), ("thread_sort_index", lane, {"sort_index": lane})]
    return [{"name": name, "ph": "M", "pid": 1, "tid": tid, "args": args} for name, tid, args in names]


def _event(track: Track, span: Span) -> dict[str, Any]:
    return {
        "name": span.op,
        "cat": track.tenants[span.tenant],
        "ph": "X",
        "pid": 1,
        "tid": span.lane,
        "ts": span.begin_s * 1e6,
        "dur": (span.end_s - span.begin_s) * 1e6,
        "args": {"tenant": track.tenants[span.tenant], "kernel": span.kernel, "idle before (us)": span.wait_s * 1e6}
        | _piece(span),
    }


def _piece(span: Span) -> dict[str, Any]:
    if span.piece is None:
        return {}
    piece = span.piece
    waits = [f"lane {wait.lane}: {wait.count} slices" for wait in piece.waits]
    return {"variant": piece.variant, "lo": piece.lo, "hi": piece.hi, "cluster": piece.cluster, "waits for": waits}
