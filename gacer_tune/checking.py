"""Compares our outputs with ONNX Runtime's, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gacer_tune import inputs
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
        for name, expected in _onnxruntime(tenant, asked, seed).items():
            error = relative_error(ours[f"{number}/{name}"], expected)
            found.append(Difference(tenant.name, name, error, allowed))
    return found


def _onnxruntime(tenant: Tenant, asked: TenantSettings, seed: int) -> dict[str, Any]:
    """Outputs of the original model, its shapes fixed as the tenant's are."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_resized(asked, tenant), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in tenant.outputs]
    return dict(zip(names, session.run(names, inputs.sample(tenant, seed)), strict=True))


def _resized(asked: TenantSettings, tenant: Tenant) -> str | bytes:
    """The file itself, or the model with the input shapes that the tenant was given."""
    if not asked.shapes and asked.batch is None:
        return str(asked.path)
    from gacer_tune.frontend.safety import read_model

    model = read_model(Path(asked.path))
    shapes = {port.name: port.shape for port in tenant.inputs}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, shapes.get(value.name, ()), strict=False):
            dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())
