"""The report as one page that needs nothing else: no server, no network, no fonts."""

from __future__ import annotations

from html import escape

from gacer_tune.report import tables
from gacer_tune.report.charts import convergence_svg, predictions_svg
from gacer_tune.report.content import Report
from gacer_tune.report.style import SCRIPT, STYLE
from gacer_tune.report.timeline_svg import lanes_svg
from gacer_tune.report.units import clock_text, seconds_text
from gacer_tune.report.verdict import Figures, verdict, words

# The page itself can load nothing and send nothing, whatever a name in it might hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def report_html(report: Report) -> str:
    """The page, complete. Names from models and files appear as text only."""
    title = f"gacer-tune: {', '.join(report.after.tenants)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        + "".join((_headline(report.figures), _tenants(report), _timelines(report), _search(report), _machine(report)))
        + f'</main><div id="tip" role="status" hidden></div><script>{SCRIPT}</script></body></html>\n'
    )


def _headline(figures: Figures) -> str:
    number = f"{figures.speedup:.2f}x" if figures.accepted else "1.00x"
    spent = (
        f"{figures.trials} trials, {figures.failed_trials} of them failed, in {clock_text(figures.seconds_spent)}; "
        f"strategy {words(figures.strategy)}, objective {words(figures.objective)}"
    )
    return (
        f'<header><p class="number">{escape(number)}</p><h1>{escape(verdict(figures))}</h1>'
        f'<p class="quiet">{escape(seconds_text(figures.baseline_s))} before, {escape(seconds_text(figures.best_s))} '
        f"after. {escape(spent)}.</p></header>"
    )


def _tenants(report: Report) -> str:
    note = "Time until a tenant is done when all run together. Gain: against the better one of the first two columns."
    return _section("Tenants", f"{tables.gains(report.figures.rows)}<p class='quiet'>{note}</p>")


def _timelines(report: Report) -> str:
    """Both on one scale, so that shorter is faster."""
    until_s = max(report.before.end_s, report.after.end_s)
    note = (
        "Recorded in one run where the title says so, else simulated from the measured time of each kernel. "
        "Hover over a slice for its op, variant and waits."
    )
    tracks = "".join(
        f"<h3>{when}, {escape(track.title)}: {escape(seconds_text(track.end_s))}</h3>"
        f'<div class="scroll">{lanes_svg(track, until_s)}</div>'
        for when, track in (("Before", report.before), ("After", report.after))
    )
    return _section("Lanes", f"{tables.legend(report.after.tenants)}{tracks}<p class='quiet'>{note}</p>")


def _search(report: Report) -> str:
    charts = (
        "<figure><figcaption>Time of each trial (dots), best so far (line), best baseline (dashed)</figcaption>"
        f"{convergence_svg(report.measured, report.best, report.figures.baseline_s)}</figure>"
    )
    if report.predictions:
        charts += (
            "<figure><figcaption>Measured time over the predicted one; on the dashed line they agree</figcaption>"
            f"{predictions_svg(report.predictions)}</figure>"
        )
    failed = tables.failures(report.failures) if report.failures else "<p>No trial failed.</p>"
    return _section("Search", f'<div class="charts">{charts}</div><h3>Failed trials</h3>{failed}')


def _machine(report: Report) -> str:
    return _section("Environment", tables.environment(report.environment))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"
