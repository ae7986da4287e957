"""Settings from a file and the command line together; the command line wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gacer_tune.errors import UserError
from gacer_tune.settings import PRECISIONS, Settings, check_settings, load_settings, parse_model, parse_shape


def read_settings(
    models: Sequence[str],
    shapes: Sequence[str] = (),
    config: Path | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Settings for models as `parse_model` reads them; `options` are fields of Settings or `batch`, None: not given.

    Models given here replace those of the file. Raises UserError, also for a model file that is not there.
    """
    values = load_settings(config) if config is not None else {}
    given = {key: value for key, value in options.items() if value is not None}
    if models:
        values["tenants"] = tuple(parse_model(text) for text in models)
    merged = {**values, **given}
    if not merged.get("tenants"):
        raise UserError("no models: name at least one ONNX file, or list them under `tenants` in the file of -c")
    settings = check_settings(merged, tuple(given))
    if merged.get("batch") is not None:
        settings = _changed(settings, ({} if t.batch else {"batch": merged["batch"]} for t in settings.tenants))
    _refuse_useless(settings)
    for text in shapes:
        settings = _with_shape(settings, text)
    for tenant in settings.tenants:
        if not tenant.path.is_file():
            state = "a folder, an ONNX file is needed" if tenant.path.is_dir() else "no such file"
            raise UserError(f"{tenant.path}: {state}")
    return settings


def _refuse_useless(settings: Settings) -> None:
    if settings.kernels != "metaschedule" and "kernel_trials" in settings.model_fields_set:
        raise UserError(f"kernel_trials {settings.kernel_trials}: only with kernels metaschedule")
    shares = "" if settings.shares else None
    allowed = PRECISIONS[settings.target]
    if settings.precision is not None and settings.precision not in allowed:
        text = " or ".join((", ".join(allowed[:-1]), allowed[-1]))
        raise UserError(f"precision {settings.precision}: with target {settings.target} {text}")
    for name, value in (("simulate", settings.simulate), ("shares", shares)):
        if value is not None and settings.target != "cuda":
            what = f"{name} {value}".rstrip()
            raise UserError(f"{what}: only with target cuda, the target is {settings.target}")


def _with_shape(settings: Settings, text: str) -> Settings:
    """`det` means each of det#1, det#2 and so on."""
    name, port, dims = parse_shape(text)
    meant = [name in (tenant.name, tenant.name.rpartition("#")[0]) for tenant in settings.tenants]
    if not any(meant):
        known = ", ".join(tenant.name for tenant in settings.tenants)
        raise UserError(f"--shape {text}: no tenant {name!r}, the tenants are: {known}")
    pairs = zip(settings.tenants, meant, strict=True)
    return _changed(settings, ({"shapes": {**tenant.shapes, port: dims}} if hit else {} for tenant, hit in pairs))


def _changed(settings: Settings, changes: Iterable[dict[str, Any]]) -> Settings:
    """One change for each tenant."""
    pairs = zip(settings.tenants, changes, strict=True)
    return settings.model_copy(update={"tenants": tuple(tenant.model_copy(update=change) for tenant, change in pairs)})
