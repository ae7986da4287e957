"""Results on a GPU, kept so that a crash costs one of them; `python -m tests.gpu.results RESULTS...` shows them.

Several folders, of the parts of a bundle, make one table.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

LIMIT_S = 90.0  # for one mix
CRASHED = {"failed": f"the process ended here, or did for {LIMIT_S:g} s"}  # while a mix is worked on
LATE = {"failed": "no time left"}
LAUNCH_US = 15.0  # wanted: of the call that launches a plan, and from the launch of an empty graph to its end
Row = dict[str, Any]
Part = Callable[[], Iterator[Row]]


def work_through(
    path: Path, parts: Iterable[tuple[str, Part]], budget_s: float, limit_s: float = LIMIT_S
) -> dict[str, Row]:
    """Write what each part yields to a file as soon as it is there, the last of it stays; none begins after `budget_s`.

    Parts that the file has already are left out: when one ends the process, or has not ended after `limit_s` and is
    ended with the process, the next process goes on behind it. What it had yielded by then is kept.
    """
    results, began = known(path), time.monotonic()
    for name, part in parts:
        if name in results:
            continue
        if time.monotonic() - began > budget_s:
            _write(path, results, name, LATE)
            continue
        _write(path, results, name, CRASHED)
        faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__)
        try:
            for row in part():
                _write(path, results, name, row)
        except BaseException as error:  # the process ends: CUDA has no use for what failed once
            kept = {} if results[name] == CRASHED else results[name]
            _write(path, results, name, kept | {"failed": f"{type(error).__name__}: {error}"[:300]})
            raise
        finally:
            faulthandler.cancel_dump_traceback_later()
    return results


def _write(path: Path, results: dict[str, Row], name: str, row: Row) -> None:
    """The file with one more row; there is no moment at which it is not whole."""
    results[name] = row
    aside = path.with_suffix(".part")
    aside.write_text(json.dumps(results, indent=1))
    aside.replace(path)


def known(path: Path) -> dict[str, Row]:
    """Results that there are; none where there is no file or it is not whole."""
    try:
        found: dict[str, Row] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def checks(results: dict[str, Row]) -> str:
    """One line that counts, and one for each mix that is not right."""
    bad = {name: row for name, row in results.items() if not row.get("ok")}
    lines = [f"checked: {len(results) - len(bad)} ok, {len(bad)} not"]
    for name, row in bad.items():
        wrong = [kind for kind, part in row.items() if isinstance(part, dict) and not part["ok"]]
        lines.append(f"{name:<52}{row.get('failed') or 'wrong: ' + ', '.join(wrong)}")
    return "\n".join(lines)


def table(results: dict[str, Row]) -> str:
    """One line a mix: milliseconds, our gain over the best of the others, and what a launch costs the host.

    PyTorch is compared with what our best took in turns with it, which is not in the table.
    """
    names = sorted({name for row in results.values() for name in row.get("torch_s", {})})
    torch = "".join(f"{n:>15}" for n in names)
    ours, host = f"{'baseline':>10}{'ours':>10}{'gain':>7}", f"{'launch us':>11}{'empty us':>10}"
    lines = [f"{'mix':<52}{ours}{torch}{'against':>9}{host}"]
    for mix, row in results.items():
        if "best_s" not in row:
            lines.append(f"{mix:<52}{row.get('failed', 'not measured')}")
            continue
        rivals = row.get("torch_s", {})
        columns = "".join(f"{1000 * rivals[n]:>15.3f}" if n in rivals else f"{'-':>15}" for n in names)
        ratio = f"{row['against']:>8.2f}x" if rivals else f"{'-':>9}"
        ours = f"{1000 * row['baseline_s']:>10.3f}{1000 * row['best_s']:>10.3f}{row['gain']:>6.2f}x"
        overhead = f"{1e6 * row['launch_s']:>11.1f}{1e6 * row['empty_s']:>10.1f}"
        lines.append(f"{mix:<52}{ours}{columns}{ratio}{overhead}")
        reasons = [row[key] for key in ("torch_failed", "failed") if row.get(key)]
        lines += [f"{'':<4}PyTorch: {reason.splitlines()[0]}" for reason in reasons[-1:]]
    return "\n".join([*lines, *_launches(results)])


def _launches(results: dict[str, Row]) -> list[str]:
    """A line on the launch overhead over all mixes."""
    both = [1e6 * max(row["launch_s"], row["empty_s"]) for row in results.values() if "launch_s" in row]
    if not both:
        return []
    kept = "kept" if max(both) <= LAUNCH_US else "NOT kept"
    return [f"launch overhead: {max(both):.1f} us at most, wanted are {LAUNCH_US:g}: {kept}"]


def main(folders: Sequence[Path]) -> int:
    for name, shown in (("check", checks), ("measure", table)):
        results = {mix: row for folder in folders for mix, row in known(folder / f"{name}.json").items()}
        sys.stdout.write(f"{shown(results) if results else f'{name}: nothing was written'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main([Path(folder) for folder in sys.argv[1:]]))
