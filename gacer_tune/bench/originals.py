"""The models that an artifact was made from, as other runtimes get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Tenant


def paths(given: Sequence[str], tenants: Sequence[str], recorded: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    """Tenant -> original model, as `TENANT=PATH` was given, else as the manifest has recorded it.

    `det` stands for det#1, det#2 and so on, too. Raises UserError for other text, and for what is missing.
    """
    found = {str(row["name"]): Path(str(row["path"])) for row in recorded if row.get("name") and row.get("path")}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UserError(f"--models {text}: allowed: TENANT=MODEL.onnx")
        meant = [tenant for tenant in tenants if name in (tenant, tenant.rpartition("#")[0])]
        if not meant:
            raise UserError(f"--models {text}: no tenant {name!r}, the tenants are: {', '.join(tenants)}")
        found |= dict.fromkeys(meant, Path(path))
    for tenant in tenants:
        if tenant not in found or not found[tenant].is_file():
            was = f"{found[tenant]} is not there" if tenant in found else "its file is not recorded"
            raise UserError(f"{tenant}: {was}; name the original model: --models {tenant}=MODEL.onnx")
    return {tenant: found[tenant] for tenant in tenants}


def static_model(path: Path, tenant: Tenant) -> tuple[bytes, tuple[str, ...]]:
    """The model with the tenant's input shapes, all weights inside, and the names of its inputs in order.

    What it said of shapes inside is dropped. Raises UserError for a model that cannot be read or has other inputs or
    outputs.
    """
    from gacer_tune.frontend.safety import read_model

    model = read_model(path)
    shapes = {port.name: port.shape for port in tenant.inputs}
    names = tuple(item.name for item in model.graph.input)
    if set(names) != set(shapes):
        raise UserError(f"{path}: inputs {', '.join(sorted(names))}, the artifact has {', '.join(sorted(shapes))}")
    outputs = {item.name for item in model.graph.output}
    for port in tenant.outputs:
        if port.name not in outputs:
            raise UserError(f"{path}: no output {port.name!r}: not the model that {tenant.name} was made from")
    for item in model.graph.input:
        shape = item.type.tensor_type.shape
        shape.SetInParent()
        del shape.dim[:]
        for size in shapes[item.name]:
            shape.dim.add().dim_value = size
    del model.graph.value_info[:]
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString()), names
