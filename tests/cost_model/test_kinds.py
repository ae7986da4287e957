"""Every op that lowering makes of the models has a group of its own in the features."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from gacer_tune.cost_model.kinds import OTHER, group
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.shapes import input_bounds
from gacer_tune.lowering.lower import lower_model
from gacer_tune.preparing import machine_here
from tests.support.small_models import SMALL


@pytest.mark.parametrize("name", SMALL)
def test_no_kind_is_unknown(name: str, tmp_path: Path) -> None:
    onnx.save(SMALL[name](), str(tmp_path / "model.onnx"))
    model = load_model(tmp_path / "model.onnx")
    lowered = lower_model(model, machine_here(), input_bounds(model))
    assert lowered.ops
    assert {op.kind for op in lowered.ops if group(op.kind) == OTHER} == set()
