"""What a tuning run is asked to do, and in which words it is refused.

A model is written `[NAME=]PATH[:KEY=VALUE]...` with the keys batch, instances, weight and slo_ms:
`det.onnx`, `det=models/yolo.onnx:batch=4:instances=2`, `det.onnx:batch=1..8` where the size is to be found. A first
`=` ends a name only if no `/` comes before it, and a `:` begins an option only if `KEY=` follows, so
`runs/lr=0.1/a:b.onnx` is a path; `./lr=0.1.onnx` makes one of `lr=0.1.onnx`. A path that ends in `:KEY=VALUE` itself
can be written in the YAML file only.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from gacer_tune.errors import UserError
from gacer_tune.instances import one_by_one
from gacer_tune.tenant_settings import DIMS, Above0, AnyPath, TenantSettings
from gacer_tune.yaml_file import read_mapping

MOST_KERNEL_TRIALS = 10_000
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_ALIASES = {"budget": "budget_s"}  # as users write it -> the field
_ALLOWED = {
    "int_type": "an integer", "float_type": "a number", "finite_number": "a finite number", "string_type": "text",
    "bool_type": "true or false", "path_type": "a path", "is_instance_of": "a path", "tuple_type": "a list",
    "dict_type": "a mapping", "model_type": "a mapping, or text as in det.onnx:batch=4", "too_short": "at least one",
    "literal_error": "{expected}", "value_error": "{error}", "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}",
}  # fmt: skip
_OPTION = re.compile(r"(?P<rest>.+):(?P<key>[A-Za-z_]+)=(?P<value>[^:]*)", re.DOTALL)


def _duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise ValueError("a number above 0 of seconds, or with a unit as in 90s, 2m, 1.5h")
    return float(found[1]) * _UNITS_S[found[2]]


def _tenants(value: object) -> object:
    """Entries that are text are models as on the command line."""
    if not isinstance(value, (list, tuple)):
        return value
    return tuple(parse_model(entry) if isinstance(entry, str) else entry for entry in value)


PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp16", "tf32", "fp32")}  # the first one is taken unless one is given


class Settings(BaseModel):
    """All of a run. `tenants` are the instances one by one, each with a name of its own and `instances` 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tenants: Annotated[tuple[TenantSettings, ...], BeforeValidator(_tenants), Field(min_length=1)]
    target: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["fp32", "tf32", "fp16", "bf16"] | None = None
    simulate: Literal["h100", "a100"] | None = None
    lanes: int | None = Field(default=None, ge=1)
    budget_s: Annotated[Above0, BeforeValidator(_duration)] = 120.0
    trials: int | None = Field(default=None, ge=1)
    strategy: Literal["evolve", "coordinate", "random", "exhaustive"] = "evolve"
    objective: Literal["makespan", "throughput", "slo", "fairness"] = "makespan"
    only: Literal["spatial", "temporal"] | None = None
    shares: bool = False
    seed: int = Field(default=0, ge=0)
    out: AnyPath = Path("out")
    resume: bool = False
    dry_run: bool = False
    early_stop: bool = True
    warm_start: bool = True
    cache: AnyPath | None = None
    kernels: Literal["own", "metaschedule"] = "own"
    kernel_trials: int = Field(default=64, ge=1, le=MOST_KERNEL_TRIALS)

    @property
    def chosen_precision(self) -> str:
        """What was asked for, or what the target takes."""
        return self.precision or PRECISIONS[self.target][0]

    @field_validator("tenants")
    @classmethod
    def _one_by_one(cls, tenants: tuple[TenantSettings, ...]) -> tuple[TenantSettings, ...]:
        return one_by_one(tenants)

    @model_validator(mode="after")
    def _slo_has_a_tenant(self) -> Settings:
        if self.objective == "slo" and all(tenant.slo_ms is None for tenant in self.tenants):
            raise UserError("objective slo: no tenant has an slo_ms, at least one must")
        return self

    @model_validator(mode="after")
    def _metaschedule_searches_for_cpus(self) -> Settings:
        if self.kernels == "metaschedule" and self.target != "cpu":
            raise UserError(f"kernels metaschedule: only with target cpu, the target is {self.target}")
        if self.kernels == "metaschedule" and self.precision == "bf16":
            raise UserError("kernels metaschedule: only with precision fp32, not with bf16")
        return self

    @model_validator(mode="after")
    def _shares_are_searched(self) -> Settings:
        if self.shares and self.strategy == "exhaustive":
            raise UserError("shares: not with strategy exhaustive, allowed: evolve, coordinate or random")
        if self.shares and self.only == "temporal":
            raise UserError("shares: not with only temporal, they are where work runs; allowed: only spatial, or both")
        return self


def load_settings(path: Path) -> dict[str, Any]:
    """The YAML file's values, checked, as keywords of `Settings`, and its `batch`, meant for tenants without one.

    Paths in the file are relative to its folder. `tenants` may be missing: the command line can give them. Raises
    UserError naming the file, the key, what was given and what is allowed.
    """
    values = {_ALIASES.get(key, key): value for key, value in read_mapping(path).items()}
    tenants = {} if "tenants" in values else {"tenants": (TenantSettings(path=path, name="none", slo_ms=1.0),)}
    try:
        settings = check_settings({**values, **tenants})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    found = {key: values[key] if key == "batch" else getattr(settings, key) for key in values}
    found |= {key: path.parent / found[key] for key in ("out", "cache") if found.get(key) is not None}
    if "tenants" in found:
        found["tenants"] = tuple(t.model_copy(update={"path": path.parent / t.path}) for t in settings.tenants)
    return found


def check_settings(values: Mapping[str, Any], options: Collection[str] = ()) -> Settings:
    """Settings of these values; `options` are those from the command line, named so in errors.

    `batch` is checked and left out: it is no field. Raises UserError, one for all that is wrong.
    """
    batch = values.get("batch")
    if batch is not None and (type(batch) is not int or batch < 1):
        dashes = "--" if "batch" in options else ""
        raise UserError(f"{dashes}batch: {reprlib.repr(batch)} was given, allowed: an integer, at least 1")
    try:
        return Settings.model_validate({key: value for key, value in values.items() if key != "batch"})
    except ValidationError as error:
        raise UserError(_faults(error, options)) from None


def parse_model(text: str) -> TenantSettings:
    """`name=det.onnx:batch=4` as a tenant (the rules are above). Raises UserError."""
    rest, values = text, {}
    while (option := _OPTION.fullmatch(rest)) is not None:
        if option["key"] in values:
            raise UserError(f"model {text!r}: {option['key']} was given twice")
        values[option["key"]] = _number(option["value"])
        rest = option["rest"]
    name, equals, path = rest.partition("=")
    if equals and "/" not in name:
        values["name"], rest = name, path
    try:
        return TenantSettings.model_validate({**values, "path": rest})
    except ValidationError as error:
        raise UserError(f"model {text!r}: {_faults(error)}") from None


def parse_shape(text: str) -> tuple[str, str, tuple[int, ...]]:
    """`det:images=1x3x640x640` -> ("det", "images", (1, 3, 640, 640)). Raises UserError."""
    front, _, dims = text.rpartition("=")
    tenant, _, port = front.partition(":")
    if not (tenant and port and DIMS.fullmatch(dims)) or 0 in (sizes := tuple(map(int, dims.split("x")))):
        raise UserError(f"--shape {text}: allowed: TENANT:INPUT=DIMS, as in det:images=1x3x640x640")
    return tenant, port, sizes


def parse_duration(text: str) -> float:
    """Seconds of `90`, `120s`, `2m`, `1.5h` or `500ms`. Raises UserError; 0 is a duration."""
    try:
        return float(str(_duration(text)))
    except ValueError as error:
        raise UserError(f"duration {text!r}: allowed: {error}") from None


def _number(text: str) -> int | float | str:
    """The number that the text is, else the text itself, for the validation to refuse."""
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d{1,12}\.\d{1,12}", text) else text


def _faults(error: ValidationError, options: Collection[str] = ()) -> str:
    """All that is wrong, in words; `options` are fields that came from the command line."""
    return "; ".join(_fault(item, error.title, options) for item in error.errors(include_url=False))


def _fault(item: Any, model: str, options: Collection[str]) -> str:
    place, kind = item["loc"], item["type"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{_written(part)}" for part in place).removeprefix(".")
    if place and place[0] in options and place[0] != "tenants":
        key = f"--{key.replace('_', '-')}"
    if kind == "missing":
        return f"{key}: missing"
    if kind == "extra_forbidden":
        return f"unknown key {key!r}{_suggestion(str(place[-1]), len(place) > 1 or model == TenantSettings.__name__)}"
    allowed = _ALLOWED.get(kind, item["msg"]).format(**item.get("ctx", {}))
    return f"{key}: {reprlib.repr(item['input'])} was given, allowed: {allowed}"


def _written(part: str) -> str:
    """The name users give to a field."""
    return next((alias for alias, field in _ALIASES.items() if field == part), part)


def _suggestion(key: str, of_tenant: bool) -> str:
    fields = TenantSettings.model_fields if of_tenant else {**Settings.model_fields, "batch": None}
    known = [_written(field) for field in fields]
    close = difflib.get_close_matches(key.replace("-", "_"), known, 1)
    return f", did you mean {close[0]!r}?" if close else f", allowed: {', '.join(known)}"
