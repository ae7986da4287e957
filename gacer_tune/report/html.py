"""The report as one page that needs nothing else: no server, no network, no fonts."""

from __future__ import annotations

from html import escape

from gacer_tune.report import tables
from gacer_tune.report.charts import convergence_svg, predictions_svg, strategies_svg
from gacer_tune.report.content import Report
from gacer_tune.report.front_svg import front_svg
from gacer_tune.report.residue_svg import residue_share, residue_svg
from gacer_tune.report.style import SCRIPT, STYLE
from gacer_tune.report.timeline_svg import lanes_html
from gacer_tune.report.units import clock_text, interval_text, seconds_text
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
        + "".join(
            (
                _headline(report.figures),
                _sizes(report.figures),
                _tenants(report),
                _front(report),
                _timelines(report),
                _search(report),
                _machine(report),
            )
        )
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
        f"after{escape(interval_text(figures.interval_s))}. {escape(spent)}.</p></header>"
    )


def _sizes(figures: Figures) -> str:
    """How batch and instances were found; nothing where they were given."""
    if figures.sizes is None:
        return ""
    note = (
        "Rate: the geometric mean, by weight, of the models' inputs a second, against that of the least sizes. "
        "Measured in turns; the chosen sizes are marked."
    )
    return _section("Sizes", f"{tables.sizes(figures.sizes)}<p class='quiet'>{note}</p>")


def _tenants(report: Report) -> str:
    note = (
        "Time until a tenant is done when all run together; the median, or the 95th percentile where it says so. Gain: "
        "against the best baseline. Against alone: how many times as long as with the machine for itself."
    )
    return _section("Tenants", f"{tables.gains(report.figures.rows, report.slow_downs)}<p class='quiet'>{note}</p>")


def _front(report: Report) -> str:
    """What else the artifact offers; nothing where there is no choice."""
    choices = report.figures.front
    if len(choices) < 2 or len(report.after.tenants) < 2:
        return ""
    note = (
        "None of these is better than another for every tenant, and nothing that was tried is better than one of them. "
        "<code>gacer-tune run OUT --schedule front0</code> and <code>module.run(inputs, schedule=&quot;front0&quot;)"
        "</code> use another one than best."
    )
    chart = front_svg(report.completions, choices, report.after.tenants)
    caption = "Each trial (dots) and the schedules to choose from (diamonds); down and left is faster"
    return _section(
        "Choices",
        f'<div class="charts"><figure><figcaption>{caption}</figcaption>{chart}</figure>'
        f"<figure>{tables.choices(report.after.tenants, choices)}<p class='quiet'>{note}</p></figure></div>",
    )


def _timelines(report: Report) -> str:
    """Both on one scale, so that shorter is faster."""
    until_s = max(report.before.end_s, report.after.end_s)
    note = (
        "Recorded in one run where the title says so, else simulated from the measured time of each kernel. "
        "Hover over a slice for its op, variant and waits."
    )
    buttons = (
        '<div class="zoom"><button type="button" data-zoom="0.5">-</button>'
        '<button type="button" data-zoom="2">+</button><button type="button" data-zoom="0">whole run</button>'
        '<span class="quiet" id="level"></span></div>'
    )
    tracks = "".join(
        f"<h3>{when}, {escape(track.title)}: {escape(seconds_text(track.end_s))}</h3>{lanes_html(track, until_s)}"
        for when, track in (("Before", report.before), ("After", report.after))
    )
    shares = " before and ".join(f"{residue_share(track):.0%}" for track in (report.before, report.after))
    idle = (
        f"<figure><figcaption>Idle lanes over time: {shares} after (dashed: before)</figcaption>"
        f"{residue_svg(report.before, report.after)}</figure>"
    )
    body = f"{tables.legend(report.after.tenants)}{buttons}{tracks}<p class='quiet'>{note}</p>"
    return _section("Lanes", f'{body}<div class="charts below">{idle}</div>')


def _search(report: Report) -> str:
    figures = report.figures
    charts = (
        "<figure><figcaption>Time of each trial (dots), best so far (line), best baseline (dashed)</figcaption>"
        f"{convergence_svg(report.measured, report.best, figures.baseline_s)}</figure>"
    )
    if len(report.curves) > 1:
        names = tables.legend([curve.name for curve in report.curves], letters=False)
        charts += (
            "<figure><figcaption>Best so far of each strategy, by its own trials</figcaption>"
            f"{strategies_svg(report.curves, figures.baseline_s)}{names}</figure>"
        )
    for title, found in zip(
        ("the timeline alone", "the cost model, trials it has not seen"), report.predictions, strict=True
    ):
        if found.points:
            charts += (
                f"<figure><figcaption>Measured over predicted time, {title}: {found.accuracy:.0%} of all pairs in the "
                f"right order</figcaption>{predictions_svg(found.points)}</figure>"
            )
    ended = f"<p class='quiet'>The search ended: {escape(figures.stopped)}.</p>" if figures.stopped else ""
    failed = tables.failures(report.failures) if report.failures else "<p>No trial failed.</p>"
    return _section("Search", f'<div class="charts">{charts}</div>{ended}<h3>Failed trials</h3>{failed}')


def _machine(report: Report) -> str:
    return _section("Environment", tables.environment(report.environment))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"
