"""What the seconds of interleaved rounds say."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gacer_tune.bench.system import OURS, OURS_SEQUENTIAL
from gacer_tune.checking import TOLERANCE
from gacer_tune.search.acceptance import p_faster

Errors = Mapping[str, Mapping[str, float]]  # system -> tenant/output -> relative error


@dataclass(frozen=True, slots=True)
class Line:
    """One system. ratio: median over the rounds of its seconds over ours, above 1 where ours is faster.

    p_value: how likely ours would look at least this much faster by chance (one-sided Wilcoxon). rounds: how many it
    took part in.
    """

    name: str
    peer: str
    median_s: float
    iqr_s: float
    min_s: float
    rounds: int
    ratio: float
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """lines: ours, ours sequential, then the peers; errors of their outputs; skipped: peers that cannot, and why.

    others: cores that other processes kept busy meanwhile. allowed: the largest tolerable error by tenant.
    """

    tenants: tuple[str, ...]
    lines: tuple[Line, ...]
    errors: Errors
    skipped: Mapping[str, str]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    rounds: int
    others: float
    precision: str = "fp32"
    allowed: Mapping[str, float] = field(default_factory=dict)

    def line(self, name: str) -> Line:
        return next(line for line in self.lines if line.name == name)

    @property
    def peers(self) -> dict[str, Line]:
        """The best mode of each peer: the one whose ratio is smallest."""
        found: dict[str, Line] = {}
        for line in self.lines:
            if line.peer != OURS and (line.peer not in found or line.ratio < found[line.peer].ratio):
                found[line.peer] = line
        return found

    @property
    def best_peer(self) -> Line:
        return min(self.peers.values(), key=lambda line: line.ratio)

    @property
    def wrong(self) -> tuple[str, ...]:
        """`SYSTEM: TENANT/OUTPUT` where results differ by more than is tolerable."""
        return tuple(
            f"{system}: {output}"
            for system, row in self.errors.items()
            for output, error in row.items()
            if not error <= self.allowed.get(output.partition("/")[0], TOLERANCE)
        )

    def document(self) -> dict[str, Any]:
        """The content of --json; seconds are medians."""
        return {
            "tenants": self.tenants,
            "ours_s": self.line(OURS).median_s,
            "ours_sequential_s": self.line(OURS_SEQUENTIAL).median_s,
            "peers": {line.name: line.median_s for line in self.lines if line.peer != OURS},
            "best_peer": self.best_peer.name,
            "ratio_best_peer": self.best_peer.ratio,
            "ratio_per_peer": {peer: line.ratio for peer, line in self.peers.items()},
            "best_modes": {peer: line.name for peer, line in self.peers.items()},
            "systems": self.lines,
            "errors": self.errors,
            "wrong": self.wrong,
            "skipped": self.skipped,
            "versions": self.versions,
            "rounds": self.rounds,
            "precision": self.precision,
            "machine": self.machine,
            "others": self.others,
        }


def lines(peers: Mapping[str, str], seconds: Mapping[str, Sequence[float]]) -> tuple[Line, ...]:
    """peers: of each system, the peer it belongs to; seconds: by round, those of OURS for every round."""
    return tuple(_line(name, peer, seconds[name], seconds[OURS]) for name, peer in peers.items())


def _line(name: str, peer: str, seconds: Sequence[float], ours: Sequence[float]) -> Line:
    pairs = tuple(zip(seconds, ours, strict=False))  # the rounds it took part in are the first ones
    return Line(
        name=name,
        peer=peer,
        median_s=statistics.median(seconds),
        iqr_s=_iqr(seconds),
        min_s=min(seconds),
        rounds=len(seconds),
        ratio=statistics.median(other / own for other, own in pairs),
        p_value=p_faster(pairs),
    )


def _iqr(values: Sequence[float]) -> float:
    """The range of the middle half; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return third - first
