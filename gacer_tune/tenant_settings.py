"""What a tuning run is asked about one model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gacer_tune.errors import UserError

MOST_INSTANCES = 64
DIMS = re.compile(r"\d{1,18}(?:x\d{1,18})*")
_MOST_NAME = 100
_RANGE = re.compile(r"(\d{1,6})\.\.(\d{1,6})")


def _path(value: object) -> object:
    return Path(value) if isinstance(value, str) and value else value


def _dims(value: object) -> object:
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    if DIMS.fullmatch(value) is None:
        raise ValueError("dimensions as in 1x3x224x224")
    return tuple(int(dim) for dim in value.split("x"))


def _ranges(values: object) -> object:
    """`batch: 1..8` as `batch: 1` and `most_batch: 8`; the same for instances."""
    if not isinstance(values, Mapping):
        return values
    found = dict(values)
    for key in ("batch", "instances"):
        if isinstance(given := found.get(key), str) and (both := _RANGE.fullmatch(given)) is not None:
            found[key], found[f"most_{key}"] = int(both[1]), int(both[2])
    return found


AnyPath = Annotated[Path, BeforeValidator(_path)]
Shape = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_dims)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TenantSettings(BaseModel):
    """One model of the workload. Without a name it has that of its file, without the ending.

    most_batch, most_instances: up to where the tuner may raise them; None: they stay.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: AnyPath
    name: str = ""
    batch: int | None = Field(default=None, ge=1)
    shapes: dict[str, Shape] = Field(default_factory=dict)
    weight: Above0 = 1.0
    slo_ms: Above0 | None = None
    instances: int = Field(default=1, ge=1, le=MOST_INSTANCES)
    most_batch: int | None = None
    most_instances: int | None = Field(default=None, le=MOST_INSTANCES)

    _split_ranges = model_validator(mode="before")(_ranges)

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        plain = name.isprintable() and name.strip() == name and not set(name) & set("/:=")
        if not (plain and 0 < len(name) <= _MOST_NAME):
            raise ValueError(f"1 to {_MOST_NAME} printable characters without / : = and outer spaces")
        return name

    @model_validator(mode="after")
    def _ranges_rise(self) -> TenantSettings:
        for key, least, most in (
            ("batch", self.batch, self.most_batch),
            ("instances", self.instances, self.most_instances),
        ):
            if most is not None and (least is None or most < least):
                raise UserError(f"{key} {least or ''}..{most}: the range must rise, as in 1..8")
        return self

    @model_validator(mode="after")
    def _name_after_file(self) -> TenantSettings:
        if "name" not in self.model_fields_set:
            name = "".join(c if c.isprintable() and c not in "/:=" else "_" for c in self.path.stem.strip())
            # Not through the constructor: whether the user chose the name must stay known.
            object.__setattr__(self, "name", name[:_MOST_NAME] or "model")
        return self
