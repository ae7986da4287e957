"""Tenants that run the same model: each instance on its own, and how many of them there are to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gacer_tune.errors import UserError
from gacer_tune.search.sizes import Size
from gacer_tune.tenant_settings import TenantSettings


def one_by_one(tenants: Sequence[TenantSettings]) -> tuple[TenantSettings, ...]:
    """Each instance on its own, numbered from 1: those of one name the user chose, or of one file without a name."""
    groups = [
        (str(tenant.path), -1) if "name" not in tenant.model_fields_set else (tenant.name, number)
        for number, tenant in enumerate(tenants)
    ]
    copies: Counter[tuple[str, int]] = Counter()
    for group, tenant in zip(groups, tenants, strict=True):
        copies[group] += tenant.instances
    seen: Counter[tuple[str, int]] = Counter()
    found = []
    for group, tenant in zip(groups, tenants, strict=True):
        for _ in range(tenant.instances):
            seen[group] += 1
            name = tenant.name if copies[group] == 1 else f"{tenant.name}#{seen[group]}"
            found.append(tenant.model_copy(update={"name": name, "instances": 1}))
    _require_names(found)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Group:
    """Instances of one model whose size is to be found. first: the first of them; places: where they are."""

    name: str
    first: TenantSettings
    places: tuple[int, ...]

    @property
    def least(self) -> Size:
        return Size(self.first.batch or 1, len(self.places))

    @property
    def most(self) -> Size:
        least = self.least
        return Size(self.first.most_batch or least.batch, max(least.instances, self.first.most_instances or 1))


def groups(tenants: Sequence[TenantSettings]) -> tuple[Group, ...]:
    """Of all tenants with a range, in order; those that differ by their number only are one group."""
    found: dict[tuple[str, str], list[int]] = {}
    for place, tenant in enumerate(tenants):
        if tenant.most_batch is not None or tenant.most_instances is not None:
            found.setdefault((base_name(tenant.name), tenant.model_dump_json(exclude={"name"})), []).append(place)
    return tuple(Group(name, tenants[places[0]], tuple(places)) for (name, _), places in found.items())


def resized(
    tenants: Sequence[TenantSettings], among: Sequence[Group], sizes: Sequence[Size]
) -> tuple[TenantSettings, ...]:
    """The tenants with groups of these sizes, each where its first instance was, and no ranges any more.

    Raises UserError where a new instance would have the name of another tenant.
    """
    grown = {group.places[0]: (group, size) for group, size in zip(among, sizes, strict=True)}
    gone = {place for group in among for place in group.places[1:]}
    found: list[TenantSettings] = []
    for place, tenant in enumerate(tenants):
        if place in grown:
            found += _copies(*grown[place])
        elif place not in gone:
            found.append(tenant)
    _require_names(found)
    return tuple(found)


def _copies(group: Group, size: Size) -> list[TenantSettings]:
    batch = None if group.first.batch is None else size.batch  # None: as in the file
    fixed = {"batch": batch, "most_batch": None, "most_instances": None}
    names = [group.name] if size.instances == 1 else [f"{group.name}#{n + 1}" for n in range(size.instances)]
    return [group.first.model_copy(update={**fixed, "name": name}) for name in names]


def _require_names(tenants: Sequence[TenantSettings]) -> None:
    for name, count in Counter(tenant.name for tenant in tenants).items():
        if count > 1:
            raise UserError(f"name {name!r} was given to {count} tenants, names must differ; choose them, NAME=PATH")


def base_name(name: str) -> str:
    """`det` of `det#2`."""
    base, mark, number = name.rpartition("#")
    return base if mark and number.isdecimal() else name
