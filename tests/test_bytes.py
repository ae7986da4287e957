"""Artifacts that multiply bytes: what they need of a processor, and that others do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from gacer_tune import runtime
from gacer_tune.cli.app import app
from gacer_tune.errors import UserError
from gacer_tune.runtime import load
from gacer_tune.settings import Settings
from gacer_tune.store.fingerprint import WITH_BYTES, Fingerprint, host_fingerprint
from gacer_tune.targets import machine_here
from gacer_tune.tuning import tune
from tests.support.build import run
from tests.support.compiled import FOLDER, silent
from tests.support.quantized import Net

NEEDS_VNNI = pytest.mark.skipif(not host_fingerprint().multiplies_bytes, reason="without VNNI")


def quantized() -> onnx.ModelProto:
    net = Net()
    return net.model((1, 8, 6, 6), net.conv(net.quantized("x", 0), 8, 16))


def tuned(proto: onnx.ModelProto, folder: Path) -> Path:
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    settings = Settings.model_validate({
        "tenants": ({"path": folder / "net.onnx"},), "trials": 3, "budget_s": 30.0, "cache": FOLDER / "tune-cache",
        "out": folder / "out",
    })  # fmt: skip
    tune(settings, silent)
    return folder / "out"


def without_vnni() -> Fingerprint:
    here = host_fingerprint()
    return replace(here, flags=tuple(flag for flag in here.flags if not flag.endswith("_vnni")))


@NEEDS_VNNI
def test_an_artifact_with_bytes_needs_vnni(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, isa = tuned(quantized(), tmp_path), host_fingerprint().isa
    x = np.random.default_rng(3).standard_normal((1, 8, 6, 6), np.float32)
    with load(out) as module:
        assert module.artifact.manifest["isa"] == isa + WITH_BYTES
        found = module.run({"net": {"x": x}})["net"]["y"]
    assert np.abs(found - run(quantized(), {"x": x})[0]).max() < 1e-4
    said = " ".join(CliRunner().invoke(app, ["inspect", str(out), "--kernels"]).output.split())
    assert "those of bytes are not counted there" in said and "matrix products and convolutions reach" not in said
    monkeypatch.setattr(runtime, "host_fingerprint", without_vnni)
    with pytest.raises(UserError, match=f"compiled for {isa}-vnni, this processor has {isa}: tune again"):
        load(out)


def test_all_other_artifacts_do_not(tmp_path: Path) -> None:
    net = Net()
    weight = net.constant(net.rng.standard_normal((16, 8, 1, 1)).astype(np.float32))
    out = tuned(net.model((1, 8, 6, 6), net.op("Conv", "x", weight)), tmp_path)
    with load(out) as module:
        assert module.artifact.manifest["isa"] == host_fingerprint().isa


@pytest.mark.parametrize(
    ("isa", "more", "dots"),
    [("avx512", "avx512_vnni", "vnni"), ("avx512", "avx_vnni", ""), ("avx2", "avx_vnni", "vnni"), ("avx2", "f16c", "")],
)
def test_bytes_are_multiplied_where_the_processor_can(isa: str, more: str, dots: str) -> None:
    """In its widest vectors: a processor may have instructions for some of them only."""
    wide = [f"avx512{part}" for part in ("f", "bw", "cd", "dq", "vl")] if isa == "avx512" else []
    host = replace(host_fingerprint(), flags=("avx2", "fma", *wide, more))
    with patch("gacer_tune.targets.host_fingerprint", lambda: host):
        assert (machine_here().isa, machine_here().dots) == (isa, dots)
