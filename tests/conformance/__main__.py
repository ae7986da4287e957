"""Runs the cases that the ONNX standard ships for its operators and says what became of each.

python -m tests.conformance --only conv
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from tests.conformance.cases import Case, cases, forms
from tests.conformance.children import outcomes
from tests.conformance.judging import WORST, Outcome, Verdict, judge

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose name this finds")
    parser.add_argument("--refused", action="store_true", help="show why cases are refused, too")
    options = parser.parse_args()
    chosen, others = cases(options.only)
    wanted = [form for case in chosen for form in forms(case)]
    told: dict[str, Outcome] = {}
    for form, outcome in zip(wanted, outcomes(wanted, judge), strict=True):
        before = told.get(form.case.name, outcome)
        told[form.case.name] = min(before, outcome, key=lambda one: WORST.index(one.verdict))
        if outcome.verdict in ("wrong", "crash") or (options.refused and outcome.verdict == "refused"):
            print(f"{outcome.verdict}: {form}: {outcome.message}", flush=True)
    print("\n".join(["", *table(chosen, told), "", f"{others} more cases have values that are no tensors"]))


def table(chosen: Sequence[Case], told: Mapping[str, Outcome]) -> Iterator[str]:
    """Lines of counts: of each group, then of all."""
    groups: dict[str, Counter[str]] = {}
    for case in chosen:
        groups.setdefault(case.group, Counter())[told[case.name].verdict] += 1
    total = sum(groups.values(), Counter[str]())
    width = max(map(len, groups), default=0)
    yield " ".join([" " * width, *(f"{verdict:>7}" for verdict in VERDICTS)])
    for group, counts in [*sorted(groups.items()), ("all", total)]:
        yield " ".join([f"{group:{width}}", *(f"{counts[verdict]:>7}" for verdict in VERDICTS)])


if __name__ == "__main__":
    main()
