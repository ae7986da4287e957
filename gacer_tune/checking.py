"""Compares our outputs with ONNX Runtime's, where it is installed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from gacer_tune import inputs
from gacer_tune.bench.originals import static_model
from gacer_tune.bench.ort import refusing
from gacer_tune.bench.system import RefusedError
from gacer_tune.errors import UserError
from gacer_tune.frontend.half import is_half
from gacer_tune.ir.workload import Tenant, Workload
from gacer_tune.store.cache import Cache
from gacer_tune.store.canonical import digest
from gacer_tune.store.fingerprint import host_fingerprint, versions
from gacer_tune.store.tensors import find_arrays, put_arrays

if TYPE_CHECKING:
    from gacer_tune.settings import Settings
    from gacer_tune.tenant_settings import TenantSettings

# Of the largest absolute value of the output, by precision.
TOLERANCE = 1e-3
TOLERANCES = {"fp32": TOLERANCE, "tf32": 1e-2, "fp16": 3e-2, "bf16": 5e-2}
# Where values are rounded to whole numbers on the way, which a difference in the last bit changes by a whole step: also
# ONNX Runtime differs from itself by 0.4 to 5.8 % there, with its optimizations and without.
ROUNDED = 1e-1

_log = logging.getLogger(__name__)


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


def allowed(tenant: Tenant, precision: str) -> float:
    """The largest tolerable error of a tenant's outputs."""
    return max(TOLERANCES[precision], ROUNDED if tenant.rounds else 0.0)


def relative_error(ours: Any, expected: Any) -> float:
    """Largest absolute difference over the largest absolute expected value, both of what is finite.

    inf where shapes differ, and where what is infinite or no number is not so in both.
    """
    ours, expected = np.asarray(ours, np.float64), np.asarray(expected, np.float64)
    finite = np.isfinite(expected)
    if ours.shape != expected.shape or not np.array_equal(ours[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    ours, expected = ours[finite], expected[finite]
    if not np.isfinite(ours).all():
        return float("inf")
    scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
    return float(np.max(np.abs(ours - expected), initial=0.0)) / scale


@dataclass(frozen=True, slots=True)
class Expected:
    """Outputs of a tenant by name as ONNX Runtime has computed them, now where `fresh`; key: their place in a cache."""

    key: str
    outputs: Mapping[str, Any]
    fresh: bool


def expected_outputs(settings: Settings, workload: Workload, seed: int, cache: Cache) -> tuple[Expected, ...] | None:
    """ONNX Runtime's outputs of each tenant for the sample inputs of `seed`, computed once for each model and machine.

    None without ONNX Runtime. A tenant that it cannot run has none, with one line in the log.
    """
    if find_spec("onnxruntime") is None:
        return None
    found = []
    for tenant, asked in zip(workload.tenants, settings.tenants, strict=True):
        values = inputs.sample(tenant, seed)
        key = _expected_key(tenant, values)
        known = find_arrays(cache, key)
        outputs = _computed(_original(asked, tenant), tenant, values) if known is None else known
        found.append(Expected(key, outputs, known is None and bool(outputs)))
    return tuple(found)


def _computed(model: str | bytes, tenant: Tenant, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        with refusing(tenant.name):
            return run_onnxruntime(model, tenant, values)
    except RefusedError as error:
        _log.warning("not compared with ONNX Runtime, which cannot run it: %s", error)
        return {}


def _expected_key(tenant: Tenant, values: Mapping[str, Any]) -> str:
    """All that ONNX Runtime's results depend on."""
    given = [[name, str(a.dtype), list(a.shape), hashlib.sha256(a.tobytes()).hexdigest()] for name, a in values.items()]
    ports = [port.name for port in tenant.outputs]
    return digest(["expected outputs", tenant.model, given, ports, versions("onnxruntime"), host_fingerprint().key()])


def require_agreement(
    settings: Settings, workload: Workload, ours: Mapping[str, Any], expected: Sequence[Expected], cache: Cache
) -> None:
    """ours: outputs by `tenant number/output` for the same inputs. A difference is our bug: RuntimeError.

    What agrees is kept in the cache; so nothing is that came of a file which was exchanged meanwhile.
    """
    for number, (tenant, right) in enumerate(zip(workload.tenants, expected, strict=True)):
        most = allowed(tenant, settings.chosen_precision)
        for name, array in right.outputs.items():
            error = relative_error(ours[f"{number}/{name}"], array)
            if not Difference(tenant.name, name, error, most).tolerable:
                raise RuntimeError(
                    f"{tenant.name}: output {name} differs from ONNX Runtime by {error:.2g} "
                    f"of its largest value, allowed is {most:g}"
                )
        if right.fresh:
            _keep(cache, right)


def _keep(cache: Cache, expected: Expected) -> None:
    try:
        put_arrays(cache, expected.key, expected.outputs, ".outputs")
    except UserError as error:
        _log.warning("what ONNX Runtime computes was not kept for later runs: %s", error)


def run_onnxruntime(model: str | bytes, tenant: Tenant, values: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of the tenant by name; the model is a path or its content. Raises what ONNX Runtime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in tenant.outputs]
    return dict(zip(names, session.run(names, dict(values)), strict=True))


def _original(asked: TenantSettings, tenant: Tenant) -> str | bytes:
    """The file itself, or the model with the input shapes and the float32 that the tenant was given."""
    other = asked.shapes or asked.batch is not None or is_half(asked.path)
    return static_model(asked.path, tenant)[0] if other else str(asked.path)
