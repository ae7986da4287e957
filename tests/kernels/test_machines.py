"""Code for every kind of processor, also for those that this one is not."""

import pytest
import tvm

from gacer_tune.kernels.conv2d import Conv2d, ConvTile, candidates
from gacer_tune.kernels.emit.compile import lower, target_of
from gacer_tune.kernels.emit.conv2d import emit
from gacer_tune.kernels.emit.winograd_conv import emit as emit_winograd
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.kernels.tensor import dense
from gacer_tune.kernels.winograd import Filtering
from gacer_tune.kernels.winograd_conv import Run, WinogradConv

WIDEST = {"avx512": "%zmm", "avx2": "%ymm", "x86-64": "%xmm"}


@pytest.mark.parametrize("name", MACHINES)
def test_vectors_are_as_wide_as_the_machine_has_them(name: str) -> None:
    machine = MACHINES[name]
    spec = Conv2d(dense((1, 14, 14, 64)), dense((1, 14, 14, 96)), (3, 3), pad=(1, 1))
    tile = candidates(spec, machine)[0]
    assert tile.vectors * tile.columns < machine.registers
    kernel = lower(emit(spec, tile, machine, "kernel"), machine)
    assembly = tvm.get_global_func("target.build.llvm")(kernel, target_of(machine)).inspect_source("s")
    used = {register: assembly.count(register) for register in WIDEST.values()}
    assert used[WIDEST[name]] >= 100
    for wider in ("%zmm", "%ymm", "%xmm"):
        if wider == WIDEST[name]:
            break
        assert used[wider] == 0, f"{name} has no {wider}"


@pytest.mark.parametrize(("name", "lines"), [("avx512", 2), ("avx2", 1), ("x86-64", 1)])
def test_weights_are_fetched_ahead_by_the_cache_line(name: str, lines: int) -> None:
    """A step over the channels reads a pack of weights, for two vectors: with AVX-512 these are two lines."""
    machine = MACHINES[name]
    spec = Conv2d(dense((1, 1, 4, 64)), dense((1, 1, 4, 96)))
    kernel = emit(spec, ConvTile(2, 4, 1, 0, 1, "ohw"), machine, "kernel")
    assert kernel.script().count("llvm.prefetch") == lines


@pytest.mark.parametrize(("name", "lines"), [("avx512", 2), ("avx2", 1)])
def test_winograds_weights_are_fetched_into_the_first_cache(name: str, lines: int) -> None:
    """16 tiles in runs of 8: one register tile, which reads a pack of weights in every step over the channels."""
    machine = MACHINES[name]
    spec = WinogradConv(dense((1, 16, 16, 64)), dense((1, 16, 16, 64)), Filtering(4, 3), (1, 1))
    script = emit_winograd(spec, Run(8, 1), machine, "kernel").script()
    assert script.count("llvm.prefetch") == script.count(", 0, 3, 1)") == lines
