"""The kernels of all models, the first variant of each, compile for an H100 at every precision, and spill nothing.

`python -m tests.gpu.compile_all` does the same for all variants, other architectures and models in their full size.
"""

from __future__ import annotations

import math
from typing import get_args

import pytest

from gacer_tune.kernels.cuda import nvrtc
from gacer_tune.kernels.cuda.compile import Resources
from gacer_tune.kernels.cuda.gpu import Gpu, Precision
from tests.gpu.compile_all import compile_each, distinct
from tests.support.compiled import FOLDER
from tests.support.small_models import SMALL


@pytest.fixture(autouse=True)
def cache_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler said of a source is not asked again."""
    monkeypatch.setenv("GACER_TUNE_CACHE", str(FOLDER / "cache"))


@pytest.mark.slow
@pytest.mark.skipif(not nvrtc.available(), reason="without the extra `cuda`; nvcc would take half an hour")
@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_model_compiles(name: str, precision: Precision) -> None:
    gpu = Gpu(precision=precision)
    assert gpu.arch == "sm_90"
    found = compile_each(distinct([name], gpu, 1, False), gpu, math.inf)
    assert found
    for source, resources in found.items():
        assert isinstance(resources, Resources), f"{source}: {resources}"
        assert resources.spill_nbytes == 0, source
        assert resources.registers <= 255 and resources.shared_nbytes <= 227 * 1024, source
