"""Sources of functions as JSON, to hand them to compiling processes."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass
from importlib import import_module
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from gacer_tune.kernels.rules import Source


def encode(source: Source) -> dict[str, Any]:
    parts = (source.spec, source.tile, source.machine)
    return {
        "types": [[type(part).__module__, type(part).__qualname__] for part in parts],
        "spec": asdict(source.spec),  # type: ignore[call-overload]
        "tile": asdict(source.tile),
        "machine": asdict(source.machine),
    }


def decode(data: dict[str, Any]) -> Source:
    """Inverse of encode. Raises ValueError for types that are none of this package."""
    parts = []
    for (module, name), key in zip(data["types"], ("spec", "tile", "machine"), strict=True):
        if not module.startswith("gacer_tune.kernels."):
            raise ValueError(f"{module}.{name} is no kernel")
        parts.append(value_of(getattr(import_module(module), name), data[key]))
    return Source(*parts)


def value_of(kind: Any, data: Any) -> Any:
    """Give JSON the type that an annotation names: dataclasses, tuples of them, or None; the rest stays as it is."""
    if data is None:
        return None
    if get_origin(kind) in (Union, UnionType):
        return value_of(next(one for one in get_args(kind) if one is not type(None)), data)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{f.name: value_of(hints[f.name], data[f.name]) for f in fields(kind)})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            return tuple(value_of(inner[0], item) for item in data)
        return tuple(value_of(one, item) for one, item in zip(inner, data, strict=True))
    return data
