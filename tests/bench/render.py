"""docs/benchmarks.md from recorded lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gacer_tune.bench.others import warning
from gacer_tune.bench.system import OURS, OURS_SEQUENTIAL
from gacer_tune.report.units import seconds_text
from tests.bench.records import Entry

TITLES = {
    "alone": "Alone, batch 1",
    "together": "Together",
    "batches": "Alone, batch 4 and 8",
    "quantized": "Quantized",
}
CHART = "benchmarks.svg"
HEAD = """\
# Benchmarks

Written by `make bench`. Each entry is tuned, then compared in one process with other runtimes on the same inputs and
cores: all systems take turns, in an order drawn anew in every round, each woken by an untimed run once the threads of
the one before have stopped spinning. Times are medians over the rounds, inputs and outputs included. Every peer is
measured in its sequential and, for several models, its parallel modes; the fastest counts. A ratio is the median over
the rounds of the peer's time over ours: above 1 we are faster. p: how likely we would look at least this much faster
by chance (one-sided Wilcoxon signed-rank test)."""


def markdown(entries: Sequence[Entry]) -> str:
    """The whole page. Without a comparison it says so."""
    compared = [entry for entry in entries if entry.bench]
    if not compared:
        return "\n\n".join([HEAD, "Nothing was compared yet.", *_notes(entries)]) + "\n"
    parts = [HEAD, _conditions(compared), f"![Ratios of the peers' times to ours]({CHART})"]
    for kind, title in TITLES.items():
        rows = [entry for entry in compared if entry.kind == kind]
        if rows:
            parts += [f"## {title}", table(rows), _summary(rows)]
    return "\n\n".join([*parts, *_notes(entries)]) + "\n"


def table(entries: Sequence[Entry]) -> str:
    """A row for each entry, and geometric means of the ratios."""
    peers = peers_of(entries)
    head = ["", OURS, OURS_SEQUENTIAL, *(part for peer in peers for part in (peer, "ratio")), "ratio to best", "p"]
    rows = [_row(entry, peers) for entry in entries]
    means = ["geometric mean", "", ""]
    for peer in peers:
        means += ["", _mean([line["ratio"] for entry in entries if (line := entry.best_of(peer)) is not None])]
    rows.append([*means, _mean([entry.ratio for entry in entries]), ""])
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + "|".join([" --- ", *(" ---: " for _ in head[1:])]) + "|")
    return "\n".join(lines)


def peers_of(entries: Sequence[Entry]) -> list[str]:
    """All peers that took part somewhere, in order of appearance."""
    return list(dict.fromkeys(peer for entry in entries for peer in entry.bench["best_modes"]))


def _row(entry: Entry, peers: Sequence[str]) -> list[str]:
    cells = [entry.name, *(seconds_text(entry.system(name)["median_s"]) for name in (OURS, OURS_SEQUENTIAL))]
    for peer in peers:
        line = entry.best_of(peer)
        if line is None:
            cells += ["cannot run it" if peer in entry.bench["skipped"] else "not compared", ""]
        else:
            mode = line["name"].removeprefix(f"{peer} ")
            cells += [f"{seconds_text(line['median_s'])} ({mode})", f"{line['ratio']:.2f}"]
    best = entry.system(entry.bench["best_peer"])
    return [*cells, f"**{entry.ratio:.2f}**", f"{best['p_value']:.2g}"]


def _mean(ratios: Sequence[float]) -> str:
    return f"{geomean(ratios):.2f}" if ratios else ""


def geomean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _summary(entries: Sequence[Entry]) -> str:
    least = min(entries, key=lambda entry: entry.ratio)
    faster = sum(entry.ratio > 1 for entry in entries)
    mean = geomean([entry.ratio for entry in entries])
    return (
        f"Against the best peer of each entry: geometric mean {mean:.2f}, minimum {least.ratio:.2f} ({least.name}), "
        f"above 1 in {faster} of {len(entries)}."
    )


def _conditions(entries: Sequence[Entry]) -> str:
    machine = entries[0].bench["machine"]
    versions = {key: value for entry in entries for key, value in entry.bench["versions"].items()}
    dates = sorted(entry.at[:10] for entry in entries)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    rounds = sorted({entry.bench["rounds"] for entry in entries})
    rounded = {entry.bench.get("precision", "fp32") for entry in entries} - {"fp32"}
    lines = [
        f"- machine: {machine['cpu']}, {machine['isa']}, {machine['lanes']} of {machine['cores']} cores",
        *(f"- precision: {one}, also of OpenVINO; ONNX Runtime knows float32 only" for one in sorted(rounded)),
        f"- versions: {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}",
        f"- measured: {when}, {' or '.join(map(str, rounds))} rounds, tuned for "
        f"{' or '.join(sorted({entry.budget for entry in entries}))} each",
        *(f"- command: `{command}`" for command in sorted({entry.command for entry in entries})),
    ]
    return "\n".join(lines)


def _notes(entries: Sequence[Entry]) -> list[str]:
    """What must not be overlooked; nothing where there is nothing."""
    lines = [f"{entry.name}: no comparison: {entry.failed}" for entry in entries if entry.failed]
    for entry in (entry for entry in entries if entry.bench):
        lines += [f"{entry.name}: results differ from ours: {text}" for text in entry.bench["wrong"]]
        lines += [f"{entry.name}: {peer} cannot run {reason}" for peer, reason in entry.bench["skipped"].items()]
        few = [line for line in entry.bench["systems"] if line["rounds"] < entry.bench["rounds"]]
        lines += [f"{entry.name}: {line['name']} is so slow that it had {line['rounds']} rounds only" for line in few]
        if busy := warning(entry.bench["others"]):
            lines.append(f"{entry.name}: {busy}")
    return ["## Notes", "\n".join(f"- {line}" for line in lines)] if lines else []
