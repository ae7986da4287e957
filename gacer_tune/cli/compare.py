"""Outputs of an artifact against those of ONNX Runtime on the original models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gacer_tune.checking import Difference, relative_error
from gacer_tune.errors import UserError

if TYPE_CHECKING:
    from gacer_tune.runtime import Module


def model_paths(given: Sequence[str], tenants: Sequence[str], recorded: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """Tenant -> original model, as `TENANT=PATH` was given, else as the manifest has recorded it.

    `det` stands for det#1, det#2 and so on, too. Raises UserError for other text and for what is missing.
    """
    paths = {str(row.get("name")): Path(str(row["path"])) for row in recorded if row.get("path")}
    for text in given:
        name, equals, path = text.partition("=")
        meant = [tenant for tenant in tenants if name in (tenant, tenant.rpartition("#")[0])]
        if not (equals and path):
            raise UserError(f"--models {text}: allowed: TENANT=MODEL.onnx")
        if not meant:
            raise UserError(f"--models {text}: no tenant {name!r}, the tenants are: {', '.join(tenants)}")
        paths |= dict.fromkeys(meant, Path(path))
    if missing := [tenant for tenant in tenants if tenant not in paths]:
        raise UserError(f"--compare: give the original model of {', '.join(missing)}, --models TENANT=MODEL.onnx")
    return {tenant: paths[tenant] for tenant in tenants}


def differences(
    module: Module, inputs: Mapping[str, Any], outputs: Mapping[str, Any], paths: Mapping[str, Path]
) -> list[Difference]:
    """One row for each output. Raises UserError without ONNX Runtime, and for models that do not fit."""
    if find_spec("onnxruntime") is None:
        raise UserError("--compare onnxruntime: it is not installed: pip install 'gacer-tune[peers]'")
    found = []
    for tenant in module.tenants:
        expected = _outputs_of(paths[tenant], module.inputs(tenant), inputs[tenant])
        for name, ours in outputs[tenant].items():
            if name not in expected:
                raise UserError(f"{paths[tenant]}: no output {name!r}: not the model that {tenant} was made from")
            found.append(Difference(tenant, name, relative_error(ours, expected[name])))
    return found


def _outputs_of(path: Path, ports: Mapping[str, tuple[tuple[int, ...], str]], inputs: Any) -> dict[str, Any]:
    """All outputs of the original model by name."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(_resized(path, ports), options, providers=["CPUExecutionProvider"])
        names = [item.name for item in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    except (Fail, InvalidArgument, InvalidGraph, RuntimeException) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: ONNX Runtime cannot run it with the artifact's inputs: {first}") from error


def _resized(path: Path, ports: Mapping[str, tuple[tuple[int, ...], str]]) -> bytes:
    """The model with the input shapes of the artifact; what it said of other shapes is forgotten."""
    from gacer_tune.frontend.safety import read_model

    model = read_model(path)
    names = {item.name for item in model.graph.input}
    if names != set(ports):
        raise UserError(f"{path}: inputs {', '.join(sorted(names))}, the artifact has {', '.join(sorted(ports))}")
    for item in model.graph.input:
        shape = item.type.tensor_type.shape
        shape.SetInParent()
        del shape.dim[:]
        for size in ports[item.name][0]:
            shape.dim.add().dim_value = size
    del model.graph.value_info[:]
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())
