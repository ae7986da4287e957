"""Every model of models/ has kernels for a GPU at every precision; compiling them all is a long check by command."""

from __future__ import annotations

import shutil
from functools import cache
from typing import get_args

import onnx
import pytest

from gacer_tune.ir.memory import place
from gacer_tune.kernels.cuda.gpu import Gpu, Precision
from gacer_tune.kernels.rules import Processor
from gacer_tune.tenants import Compiled
from tests.cuda.emulated import compiled
from tests.gpu import compile_all
from tests.support.small_models import SMALL

QUICK = ("tiny_branchy", "tiny_attention", "shufflenet", "bert", "ssd", "lstm", "dlrm", "unet", "googlenet")


@cache
def model(name: str) -> onnx.ModelProto:
    return SMALL[name]()


@cache
def ready(name: str, precision: Precision) -> Compiled:
    return compiled({name: model(name)}, Gpu(precision=precision), most=8)


def without_variants(made: Compiled) -> list[str]:
    """Ops with a kernel that has not one to eight variants with blocks to launch."""
    return [
        op.name
        for tenant in made.workload.tenants
        for op in tenant.ops
        for kernel in op.kernels
        if not (1 <= len(kernel.variants) <= 8 and all(1 <= variant.items < 2**31 for variant in kernel.variants))
    ]


def machines(made: Compiled) -> set[Processor]:
    return {source.machine for source in made.sources.values()}


@pytest.mark.parametrize("name", QUICK)
def test_models_have_kernels_in_float16(name: str) -> None:
    made = ready(name, "fp16")
    assert made.workload.target == "cuda"
    assert without_variants(made) == []
    assert machines(made) == {Gpu()}


def test_float16_halves_the_weights() -> None:
    half, full = (place(ready("tiny_branchy", p).workload).weights_nbytes for p in ("fp16", "fp32"))
    assert 0.45 * full < half < 0.6 * full


@pytest.mark.slow
@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_model_at_every_precision(name: str, precision: Precision) -> None:
    made = ready(name, precision)
    assert without_variants(made) == []
    assert machines(made) == {Gpu(precision=precision)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_a_model_compiles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("GACER_TUNE_CACHE", str(tmp_path))
    assert compile_all.main(["tiny_mlp", "--variants", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 models for sm_90 in fp16: 5 of 5 kernels compile, 0 fail, 0 were not tried;")
    spills = {row.split("|")[1].strip(): row.split("|")[-2].strip() for row in out.splitlines()[2:] if "|" in row}
    assert spills["conv2d"] == spills["mapping"] == spills["all"] == "0"
