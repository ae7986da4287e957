"""Every model of models/ has kernels for a GPU at every precision; compiling them all is a long check by command."""

from __future__ import annotations

import shutil
from functools import cache

import onnx
import pytest

from gacer_tune.ir.memory import place
from gacer_tune.kernels.cuda.gpu import Gpu, Precision
from tests.cuda.emulated import compiled
from tests.gpu import compile_all
from tests.support.small_models import SMALL

QUICK = ("tiny_branchy", "tiny_attention", "shufflenet", "bert", "ssd", "lstm", "dlrm", "unet", "googlenet")


@cache
def model(name: str) -> onnx.ModelProto:
    return SMALL[name]()


def check(name: str, precision: Precision) -> int:
    """Every kernel has a variant with blocks to launch; return the bytes of the weights."""
    ready = compiled({name: model(name)}, Gpu(precision=precision), most=8)
    (tenant,) = ready.workload.tenants
    assert ready.workload.target == "cuda"
    for op in tenant.ops:
        for kernel in op.kernels:
            assert 1 <= len(kernel.variants) <= 8, op
            assert all(1 <= variant.items < 2**31 for variant in kernel.variants), op
    inside = {source.machine for source in ready.sources.values()}
    assert inside == {Gpu(precision=precision)}
    return place(ready.workload).weights_nbytes


@pytest.mark.parametrize("name", QUICK)
def test_models_have_kernels_in_float16(name: str) -> None:
    check(name, "fp16")


def test_float16_halves_the_weights() -> None:
    half, full = check("tiny_branchy", "fp16"), check("tiny_branchy", "fp32")
    assert 0.45 * full < half < 0.6 * full


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_model_at_every_precision(name: str, precision: Precision) -> None:
    check(name, precision)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_a_model_compiles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("GACER_TUNE_CACHE", str(tmp_path))
    assert compile_all.main(["tiny_mlp", "--variants", "1"]) == 0
    assert "kernels of sm_90 in fp16 compile, 0 of them spill registers" in capsys.readouterr().out
