"""The result of comparing two artifacts: decisions, times and outputs, each by itself, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gacer_tune.artifact import Artifact, read_artifact
from gacer_tune.checking import Difference
from gacer_tune.errors import UserError
from gacer_tune.regression.change import Area, Change
from gacer_tune.regression.decisions import decisions
from gacer_tune.regression.surroundings import obstacles, surroundings
from gacer_tune.regression.times import THRESHOLD, Row, rows
from gacer_tune.report.verdict import objective_name
from gacer_tune.search.seeds import objective_of
from gacer_tune.store.fingerprint import host_fingerprint

Times = Literal["possible", "required", "no"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """times: whether to measure where that is possible, to refuse where it is not, or not to measure at all.

    threshold: as a share, the band in which a ratio of times is noise. strict: changed decisions are a regression.
    """

    times: Times = "possible"
    pairs: int = 30
    threshold: float = THRESHOLD
    strict: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Check:
    """changes: all differences but those of times and outputs; obstacles: why times were not compared, empty where
    nobody asked for them or they were; rows and outputs: empty unless they were.
    """

    baseline: Path
    out: Path
    options: Options
    tenants: tuple[str, ...]
    changes: tuple[Change, ...]
    obstacles: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    outputs: tuple[Difference, ...] = ()
    others: float = 0.0

    def of(self, *areas: Area) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.area in areas)

    @property
    def slower(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.regressed)

    @property
    def wrong(self) -> tuple[Difference, ...]:
        return tuple(row for row in self.outputs if not row.tolerable)

    @property
    def forbidden(self) -> tuple[Change, ...]:
        """Changes that `strict` makes a regression: of what is run and how, not of where and with what."""
        return self.of("workload", "schedule") if self.options.strict else ()

    @property
    def regressed(self) -> bool:
        return bool(self.slower or self.wrong or self.forbidden)

    def document(self) -> dict[str, Any]:
        """The content of --json; times are medians in seconds."""
        return {
            "baseline": self.baseline,
            "out": self.out,
            "regression": self.regressed,
            "decisions_changed": bool(self.of("schedule")),
            "changes": self.changes,
            "times": self.rows,
            "times_not_compared": self.obstacles,
            "outputs": self.outputs,
            "wrong_outputs": len(self.wrong),
            "threshold": self.options.threshold,
            "pairs": self.options.pairs if self.rows else 0,
            "others": self.others,
        }


def check(baseline: Path, out: Path, options: Options, say: Say) -> Check:
    """Compare decisions, and outputs and times where that is possible.

    Raises UserError for what is no artifact, and where times are `required` and cannot be compared.
    """
    before, after = read_artifact(baseline), read_artifact(out)
    found = Check(
        baseline=baseline,
        out=out,
        options=options,
        tenants=tuple(tenant.name for tenant in after.workload.tenants),
        changes=(*surroundings(before, after), *decisions(before, after)),
    )
    if options.times == "no":
        return found
    why = obstacles(before, after, _here(after))
    if why and options.times == "required":
        raise UserError(f"times cannot be compared: {'; '.join(why)}")
    return replace(found, obstacles=why) if why else _timed(found, before, say)


def _here(artifact: Artifact) -> dict[str, Any]:
    """The fingerprint of this machine, with its GPU where the artifact is for one."""
    from gacer_tune.targets import device_document

    try:
        return host_fingerprint().document() | device_document(artifact.workload, None)
    except UserError:  # no GPU: then the artifact's is another one
        return host_fingerprint().document()


def _timed(found: Check, before: Artifact, say: Say) -> Check:
    """By the baseline's objective: by what it was chosen for, the new one must not be worse."""
    from gacer_tune.regression.measuring import measure

    options, workload = found.options, before.workload
    named = before.manifest.get("figures", {}).get("objective", "makespan")
    lanes = before.schedules["best"].lanes
    objective = objective_of(objective_name(str(named)), workload, before.profile, lanes)
    measured = measure(found.baseline, found.out, options.pairs, options.seed, say)
    table = rows(measured.pairs, [tenant.name for tenant in workload.tenants], objective, options.threshold)
    return replace(found, rows=table, outputs=measured.outputs, others=measured.others)
