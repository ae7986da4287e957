"""Whether one ONNX file is computed as ONNX Runtime computes it: `python -m tests.exported.judging dla34.onnx`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx

from gacer_tune.checking import relative_error, run_onnxruntime
from tests.conformance.judging import Outcome, attempt
from tests.support.build import Array
from tests.support.compiled import Built, build

CLOSE = 1e-4  # of an output's largest value: sums are added up in another order


def judge(path: Path) -> Outcome:
    """Compiled and run with each kernel's first variant on one lane. `right` says what it was made of."""
    built = attempt(lambda: build([(path.stem, onnx.load(path))], 1, most=1))
    if isinstance(built, Outcome):
        return built
    return attempt(lambda: _compare(built, path))


def _compare(built: Built, path: Path) -> Outcome:
    (tenant,) = built.compiled.workload.tenants
    made = {name.removeprefix("0/"): array for name, array in built.bench.outputs().items()}
    feeds = {port.name: np.array(built.bench.session.port(0, port)) for port in tenant.inputs}
    expected = run_onnxruntime(str(path), tenant, feeds)
    wrong, largest = differences(made, expected)
    if all(array.min() == array.max() for array in expected.values()):
        wrong.append("the outputs tell nothing: each is one number")
    if wrong:
        return Outcome("wrong", "; ".join(wrong))
    default = sum(op.kind == "default" for op in tenant.ops)
    return Outcome("right", f"{len(tenant.ops)} ops, {default} of them by TVM, differs by {largest:.0e}")


def differences(made: Mapping[str, Array], expected: Mapping[str, Array]) -> tuple[list[str], float]:
    """What is wrong with which output, and the largest difference as a share of an output's largest value."""
    wrong, largest = [], 0.0
    for name, wanted in expected.items():
        ours = made[name]
        if (ours.shape, ours.dtype) != (wanted.shape, wanted.dtype):
            wrong.append(f"{name}: {ours.dtype} {ours.shape}, not {wanted.dtype} {wanted.shape}")
        elif wanted.dtype.kind != "f":
            wrong += [f"{name}: {np.sum(ours != wanted)} of {wanted.size} differ"] * bool(np.any(ours != wanted))
        elif (apart := relative_error(ours, wanted)) == np.inf:
            wrong.append(f"{name}: not finite in the same places")
        else:
            largest = max(largest, apart)
            wrong += [f"{name}: differs by {apart:.1e} of its largest value"] * (apart > CLOSE)
    return wrong, largest


if __name__ == "__main__":
    print(json.dumps(asdict(judge(Path(sys.argv[1])))))
