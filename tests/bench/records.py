"""The lines of build/bench.jsonl: one for each entry that was tuned and compared, or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gacer_tune.store.journal import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """The newest line of one entry. bench is what `gacer-tune bench --json` printed; failed: why there is none."""

    kind: str
    name: str
    at: str
    command: str
    budget: str
    bench: dict[str, Any]
    failed: str

    @staticmethod
    def of(record: Record) -> Entry:
        kind, name, at, command, budget = (str(record[key]) for key in ("set", "name", "at", "command", "budget"))
        return Entry(kind, name, at, command, budget, record.get("bench", {}), record.get("failed", ""))

    @property
    def ratio(self) -> float:
        return float(self.bench["ratio_best_peer"])

    def system(self, name: str) -> dict[str, Any]:
        return next(line for line in self.bench["systems"] if line["name"] == name)

    def best_of(self, peer: str) -> dict[str, Any] | None:
        """The line of the peer's best mode; None where it took no part."""
        mode = self.bench["best_modes"].get(peer)
        return None if mode is None else self.system(mode)


def newest(records: Sequence[Record]) -> list[Entry]:
    """The last line of each entry, in order of first appearance, of the machine of the very last comparison.

    Figures of two machines, or of other versions, are not put into one table.
    """
    found: dict[tuple[str, str], Entry] = {}
    for record in records:
        entry = Entry.of(record)
        found[entry.kind, entry.name] = entry
    compared = [entry for entry in map(Entry.of, records) if entry.bench]
    if not compared:
        return list(found.values())
    last = _conditions(compared[-1])
    return [entry for entry in found.values() if not entry.bench or _conditions(entry) == last]


def _conditions(entry: Entry) -> tuple[Any, Any]:
    """The comparison's machine and our version: peers may be few or many."""
    return entry.bench["machine"], entry.bench["versions"]["gacer-tune"]
