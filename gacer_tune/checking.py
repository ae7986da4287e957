"""Compares our outputs with ONNX Runtime's, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from gacer_tune import inputs
from gacer_tune.bench.originals import static_model
from gacer_tune.ir.workload import Tenant, Workload
from gacer_tune.targets import DEFAULT_PRECISION

if TYPE_CHECKING:
    from gacer_tune.settings import Settings, TenantSettings

# Of the largest absolute value of the output; by precision on a GPU.
TOLERANCE = 1e-3
TOLERANCES = {"fp32": TOLERANCE, "tf32": 1e-2, "fp16": 3e-2}


@dataclass(frozen=True, slots=True)
class Difference:
    """error: largest absolute difference, relative to the largest absolute value of the expected output."""

    tenant: str
    output: str
    error: float
    allowed: float = TOLERANCE

    @property
    def tolerable(self) -> bool:
        return self.error <= self.allowed


def relative_error(ours: Any, expected: Any) -> float:
    """Largest absolute difference over the largest absolute expected value; inf when one is not a number."""
    ours, expected = np.asarray(ours, np.float64), np.asarray(expected, np.float64)
    if not np.array_equal(np.isfinite(ours), np.isfinite(expected)):
        return float("inf")
    scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
    return float(np.max(np.abs(ours - expected), initial=0.0)) / scale


def against_onnxruntime(
    settings: Settings, workload: Workload, ours: Mapping[str, Any], seed: int
) -> list[Difference] | None:
    """ours: outputs by `tenant number/output` for the sample inputs of `seed`. None without ONNX Runtime."""
    if find_spec("onnxruntime") is None:
        return None
    found, allowed = [], TOLERANCE
    if settings.target == "cuda":
        allowed = TOLERANCES[settings.precision or DEFAULT_PRECISION]
    for number, (tenant, asked) in enumerate(zip(workload.tenants, settings.tenants, strict=True)):
        expected = run_onnxruntime(_original(asked, tenant), tenant, inputs.sample(tenant, seed))
        for name, array in expected.items():
            error = relative_error(ours[f"{number}/{name}"], array)
            found.append(Difference(tenant.name, name, error, allowed))
    return found


def run_onnxruntime(model: str | bytes, tenant: Tenant, values: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of the tenant by name; the model is a path or its content. Raises what ONNX Runtime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in tenant.outputs]
    return dict(zip(names, session.run(names, dict(values)), strict=True))


def _original(asked: TenantSettings, tenant: Tenant) -> str | bytes:
    """The file itself, or the model with the input shapes that the tenant was given."""
    resized = asked.shapes or asked.batch is not None
    return static_model(asked.path, tenant)[0] if resized else str(asked.path)
