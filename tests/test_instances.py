"""Ranges of batch and instances, from what a user writes to tenants of certain sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gacer_tune.errors import UserError
from gacer_tune.instances import groups, resized
from gacer_tune.search.sizes import Size
from gacer_tune.settings import Settings, check_settings, parse_model
from gacer_tune.tenant_settings import TenantSettings


def test_a_range_begins_with_its_least_size() -> None:
    tenant = parse_model("det.onnx:batch=2..16:instances=1..4")
    assert (tenant.batch, tenant.most_batch, tenant.instances, tenant.most_instances) == (2, 16, 1, 4)
    written = check_settings({"tenants": [{"path": "det.onnx", "batch": "2..16", "instances": "1..4"}]})
    assert written.tenants == Settings(tenants=(tenant,)).tenants
    plain = parse_model("det.onnx:batch=2:instances=3")
    assert (plain.most_batch, plain.most_instances) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("det.onnx:batch=8..1", "batch 8..1: the range must rise, as in 1..8"),
        ("det.onnx:instances=4..2", "instances 4..2: the range must rise, as in 1..8"),
        ("det.onnx:batch=0..4", "batch: 0 was given, allowed: at least 1"),
        ("det.onnx:instances=1..65", "most_instances: 65 was given, allowed: at most 64"),
        ("det.onnx:batch=1...4", "batch: '1...4' was given, allowed: an integer"),
    ],
)
def test_ranges_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_model(text)
    assert message in str(caught.value)


def names(*models: str) -> tuple[TenantSettings, ...]:
    return Settings(tenants=tuple(map(parse_model, models))).tenants


def test_groups_are_instances_of_one_range() -> None:
    tenants = names("det.onnx:batch=1..8:instances=2..4", "seg.onnx", "cls.onnx:batch=2..2")
    assert [tenant.name for tenant in tenants] == ["det#1", "det#2", "seg", "cls"]
    found = groups(tenants)
    assert [(group.name, group.least, group.most, group.places) for group in found] == [
        ("det", Size(1, 2), Size(8, 4), (0, 1)), ("cls", Size(2, 1), Size(2, 1), (3,)),
    ]  # fmt: skip
    assert groups(names("seg.onnx", "det.onnx:batch=4:instances=2")) == ()


def test_sizes_become_tenants_where_the_first_instance_was() -> None:
    tenants = names("cls.onnx", "det.onnx:instances=2..4:slo_ms=5", "seg.onnx:batch=1..8")
    found = resized(tenants, groups(tenants), [Size(1, 3), Size(4, 1)])
    assert [tenant.name for tenant in found] == ["cls", "det#1", "det#2", "det#3", "seg"]
    assert [tenant.batch for tenant in found] == [None, None, None, None, 4], (
        "without a range of batches: as in the file"
    )
    assert [tenant.slo_ms for tenant in found] == [None, 5, 5, 5, None]
    assert groups(found) == ()
    one = resized(tenants[1:3], groups(tenants[1:3]), [Size(1, 1)])
    assert [(tenant.name, tenant.path) for tenant in one] == [("det", Path("det.onnx"))]


def test_a_new_instance_cannot_take_the_name_of_another_tenant() -> None:
    tenants = names("det.onnx:instances=1..2", "det#2=seg.onnx")
    with pytest.raises(UserError, match="name 'det#2' was given to 2 tenants"):
        resized(tenants, groups(tenants), [Size(1, 2)])
