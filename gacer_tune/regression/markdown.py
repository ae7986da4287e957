"""A check as GitHub-flavoured markdown: the summary of a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gacer_tune.regression.change import Area
from gacer_tune.regression.check import Check
from gacer_tune.regression.wording import counted, headline, notes, ratio_text, times_text

_AREAS: dict[Area, str] = {
    "workload": "Workload",
    "schedule": "Decisions",
    "device": "Device",
    "toolchain": "Toolchain",
}


def markdown(check: Check) -> str:
    """Ends with a newline. Names of models are anybody's: what markdown or HTML would read into them is escaped."""
    parts = [f"### gacer-tune: {escaped(headline(check))}"]
    if check.rows:
        parts.append("\n".join(_times(check)))
    if check.outputs:
        parts.append(_outputs(check))
    parts += ["\n".join(_changes(check))] if check.changes else ["The same decisions, models, device and toolchain."]
    parts += [f"> {escaped(note)}" for note in notes(check)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Markdown's own characters with a backslash, HTML's as entities, one line."""
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#@])", r"\\\1", flat)


def _times(check: Check) -> Iterator[str]:
    yield "| until done | baseline | now | ratio (middle half) | p slower | |"
    yield "|---|---:|---:|---:|---:|---|"
    for row in check.rows:
        cells = (*times_text(row), ratio_text(row), f"{row.p_slower:.2g}", row.verdict)
        name = f"**{escaped(row.name)}**" if row.decides else escaped(row.name)
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield (
        f"Medians of {check.options.pairs} interleaved pairs; a ratio within {check.options.threshold:.1%} is noise. "
        "The row in bold decides."
    )


def _outputs(check: Check) -> str:
    worst = max(row.error for row in check.outputs)
    if not check.wrong:
        return f"{counted(len(check.outputs), 'output')} as in the baseline (largest relative difference {worst:.2g})."
    names = [f"- {escaped(f'{row.tenant}/{row.output}')}: {row.error:.2g}" for row in check.wrong]
    return "\n".join(["Outputs that differ, relative to the largest value:", "", *names])


def _changes(check: Check) -> Iterator[str]:
    yield f"<details><summary>{_counts(check)}</summary>"
    for area, title in _AREAS.items():
        found = check.of(area)
        if found:
            yield from ("", f"**{title}**", "")
            yield from (f"- {escaped(change.text)}" for change in found)
    yield from ("", "</details>")


def _counts(check: Check) -> str:
    parts: Sequence[str] = [
        f"{title.lower()}: {counted(len(check.of(area)), 'difference')}"
        for area, title in _AREAS.items()
        if check.of(area)
    ]
    return ", ".join(parts)
