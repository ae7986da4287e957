"""Outputs of an artifact against those of ONNX Runtime on the original models."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gacer_tune.bench.originals import static_model
from gacer_tune.checking import Difference, allowed, relative_error, run_onnxruntime
from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Tenant

if TYPE_CHECKING:
    from gacer_tune.runtime import Module


def differences(
    module: Module, inputs: Mapping[str, Any], outputs: Mapping[str, Any], paths: Mapping[str, Path]
) -> list[Difference]:
    """One row for each output. Raises UserError without ONNX Runtime, and for models that do not fit."""
    if find_spec("onnxruntime") is None:
        raise UserError("--compare onnxruntime: it is not installed: pip install 'gacer-tune[peers]'")
    found = []
    for tenant in module.workload.tenants:
        expected = _expected(paths[tenant.name], tenant, inputs[tenant.name])
        most = allowed(tenant, module.artifact.precision)
        for name, ours in outputs[tenant.name].items():
            found.append(Difference(tenant.name, name, relative_error(ours, expected[name]), most))
    return found


def _expected(path: Path, tenant: Tenant, values: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of the original model by name."""
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException

    model, _ = static_model(path, tenant)
    try:
        return run_onnxruntime(model, tenant, values)
    except (Fail, InvalidArgument, InvalidGraph, RuntimeException) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: ONNX Runtime cannot run it with the artifact's inputs: {first}") from error
