"""Results on a GPU in short: `python -m tests.gpu.tables RESULTS...`; several folders make one table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.gpu.results import Row, known

LAUNCH_US = 15.0  # wanted: of the call that launches a plan, and from the launch of an empty graph to its end
PLANS = {"sequential": "one stream", "lane_per_tenant": "stream each", "breadth_first": "branches"}
RIVALS = ("torch eager", "torch graph", "torch streams")
Rows = Mapping[str, Row]


def checks(results: Rows) -> str:
    """One line that counts, one for each kind of check, and one for each mix that is not right."""
    bad = {name: row for name, row in results.items() if not row.get("ok")}
    lines = [f"checked: {len(results) - len(bad)} ok, {len(bad)} not", *_errors(results), *_exactness(results)]
    if found := results.get("faults", {}).get("found"):
        lines.append("faults: " + ", ".join(f"{fault}: {text}" for fault, text in found.items()))
    for name, row in bad.items():
        wrong = [kind for kind, part in row.items() if isinstance(part, dict) and not part.get("ok", True)]
        lines.append(f"{name:<52}{row.get('failed') or 'wrong: ' + (', '.join(wrong) or 'see above')}")
    return "\n".join(lines)


def _errors(results: Rows) -> list[str]:
    """The largest difference from ONNX Runtime at each precision."""
    found: dict[str, list[Row]] = {}
    for row in results.values():
        if "errors" in row.get("outputs", {}):
            found.setdefault(row["precision"], []).append(row["outputs"])
    lines = []
    for precision, rows in found.items():
        errors = [error for row in rows for error in row["errors"].values()]
        said = f"{100 * max(errors):.3g} % at most, allowed are {100 * rows[0]['allowed']:g} %"
        lines.append(f"{precision}: outputs of {len(errors)} tenants differ from ONNX Runtime's by {said}")
    return lines


def _exactness(results: Rows) -> list[str]:
    rows = [row["exactness"] for row in results.values() if "exactness" in row]
    count, wrong = sum(row["schedules"] for row in rows), sum(len(row["wrong"]) for row in rows)
    return [f"exactness: {count} schedules, {wrong} without the sequential bits"] if rows else []


def shares(results: Rows) -> str:
    """Milliseconds of a stream for each tenant, without shares and with even ones; of one stream on all, on an eighth.

    Each pair of columns is followed by how many times as long it takes with shares.
    """
    pairs = {"even": ("stream each", "even shares"), "eighth": ("one stream", "an eighth")}
    heads = "".join(f"{a:>13}{b:>13}{'times':>8}" for a, b in pairs.values())
    lines = [f"{'shares of the GPU':<52}{heads}{'bits':>7}  timed events"]
    for mix, row in results.items():
        reason = row.get("refused") or row.get("failed")
        if "eighth" in row:
            cells = "".join(
                f"{1000 * row[n]['without_s']:>13.3f}{1000 * row[n]['with_s']:>13.3f}{row[n]['times']:>7.2f}x"
                for n in pairs
            )
            same = "same" if row["ok"] else "WRONG"
            lines.append(f"{mix:<52}{cells}{same:>7}  {row.get('marked') or reason or 'not tried'}")
        else:
            bits = {True: "bits are the same, ", False: "bits are WRONG, "}.get(row.get("bits", {}).get("ok"), "")
            lines.append(f"{mix:<52}{bits}NOT MEASURED: {reason or 'it was not reached'}")
    return "\n".join(lines)


def table(results: Rows) -> str:
    """Our best against our baselines, then against PyTorch: milliseconds, and how many times as long as our best.

    What is compared was timed in turns, so that the milliseconds of our best are not the same in both.
    """
    plans, rivals = [_plans_head()], [_rivals_head()]
    for mix, row in results.items():
        if "best_s" not in row:
            plans.append(f"{mix:<52}{row.get('failed', 'not measured')}")
            continue
        rate = 60 * row["tried"] / row["search_s"]
        plans.append(
            f"{mix:<52}{1000 * row['best_s']:>10.3f}{_compared(row['pairs_s'], row['gains'], PLANS)}{rate:>12.0f}"
        )
        ours = f"{1000 * row['ours_beside_s']:>10.3f}" if "torch_s" in row else f"{'-':>10}"
        host = f"{1e6 * row['launch_s']:>11.1f}{1e6 * row['empty_s']:>10.1f}"
        rivals.append(f"{mix:<52}{ours}{_compared(row.get('torch_s', {}), row.get('against', {}), RIVALS)}{host}")
        reasons = [row[key] for key in ("torch_failed", "failed") if row.get(key)]
        rivals += [f"{'':<4}PyTorch: {reason.splitlines()[0]}" for reason in reasons[-1:]]
    return "\n".join([*plans, *(rivals if len(rivals) > 1 else []), *_launches(results), *_late(results)])


def _plans_head() -> str:
    return f"{'mix':<52}{'ours':>10}" + "".join(f"{name:>13}{'':>8}" for name in PLANS.values()) + f"{'trials/min':>12}"


def _rivals_head() -> str:
    named = "".join(f"{name:>13}{'':>8}" for name in RIVALS)
    return f"{'against PyTorch':<52}{'ours':>10}{named}{'launch us':>11}{'empty us':>10}"


def _compared(
    seconds: Mapping[str, float], times: Mapping[str, float], names: Sequence[str] | Mapping[str, str]
) -> str:
    return "".join(
        f"{1000 * seconds[name]:>13.3f}{times[name]:>7.2f}x" if name in seconds else f"{'-':>13}{'':>8}"
        for name in names
    )


def _launches(results: Rows) -> list[str]:
    """A line on the launch overhead over all mixes."""
    both = [1e6 * max(row["launch_s"], row["empty_s"]) for row in results.values() if "launch_s" in row]
    if not both:
        return []
    kept = "kept" if max(both) <= LAUNCH_US else "NOT kept"
    return [f"launch overhead: {max(both):.1f} us at most, wanted are {LAUNCH_US:g}: {kept}"]


def _late(results: Rows) -> list[str]:
    """Mixes whose times are not the GPU's alone: it had overwritten its cache before the host had launched the plan."""
    return [
        f"{mix}: launched in {1e6 * row['launch_s']:.0f} us, "
        f"of which {1e6 * row['flush_s']:.0f} are hidden: the rest is in its times"
        for mix, row in results.items()
        if "flush_s" in row and row["launch_s"] > row["flush_s"]
    ]


def main(folders: Sequence[Path]) -> int:
    shown: dict[str, Callable[[Rows], str]] = {"check": checks, "shares": shares, "measure": table}
    for name, text in shown.items():
        results = {mix: row for folder in folders for mix, row in known(folder / f"{name}.json").items()}
        sys.stdout.write(f"{text(results) if results else f'{name}: nothing was written'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(folder) for folder in sys.argv[1:]]))
