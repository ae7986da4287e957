"""Convolutions of bytes against numpy, by VNNI where this processor has it and by plain arithmetic."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.kernels.byte_conv import ByteConv, candidates
from gacer_tune.kernels.emit.byte_conv import emit
from gacer_tune.kernels.emit.compile import lower, target_of
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.pack import byte_weight
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.window import Window
from gacer_tune.store import fingerprint
from tests.support.kernels import (
    TOLERANCE,
    convolved,
    cuts,
    epilogue,
    error,
    evaluated,
    few,
    machines,
    operand,
    outputs,
    programs,
    seeds,
    views,
    windows,
)

VNNI = {name: replace(MACHINES[name], dots="vnni") for name in ("avx512", "avx2")}


def dotting() -> list[Machine]:
    """Machines that multiply bytes; VNNI only where it can be run."""
    flags = Path("/proc/cpuinfo").read_text().split()
    real = [machine for machine in VNNI.values() if fingerprint.VNNI[machine.isa] in flags]
    return [*real, *(replace(machine, dots="emulated") for machine in machines())]


@st.composite
def specs(draw: st.DrawFn) -> ByteConv:
    channels, outputs = 4 * draw(st.sampled_from((1, 2, 5, 12))), draw(st.sampled_from((1, 7, 16, 20, 37, 64)))
    images, window = draw(st.integers(1, 2)), draw(windows())
    gap = draw(st.sampled_from((0, 3)))
    rows, columns = window.image
    row = columns * (channels + gap)
    source = Tensor((images, rows, columns, channels), (rows * row, row, channels + gap, 1), "byte")
    out = draw(views((images, *window.out, outputs)))
    return ByteConv(source, out, window.size, window.stride, window.pad, window.dilation, 1, draw(programs(out.shape)))


@few(12)
@given(specs(), st.sampled_from(dotting()), seeds, cuts)
def test_matches_numpy(spec: ByteConv, machine: Machine, seed: int, cut: float) -> None:
    rng = np.random.default_rng(seed)
    source = rng.integers(0, 256, spec.source.shape, np.uint8)
    weight = rng.integers(-128, 128, (spec.out.shape[3], spec.source.shape[3], *spec.window), np.int8)
    rest = epilogue(spec.program, seed)
    packed = operand(spec.weight(machine), byte_weight(weight, machine))
    found = outputs(spec, [operand(spec.source, source), packed, *rest], machine, cut)
    image, out = spec.source.shape[1:3], spec.out.shape[1:3]
    window = Window(spec.window, spec.stride, spec.pad, spec.dilation, (image[0], image[1]), (out[0], out[1]))
    expected = convolved(source.astype(np.float32), weight.astype(np.float32), 1, window)
    assert error(found, evaluated(spec.program, expected, [gate.array for gate in rest])) <= TOLERANCE


@pytest.mark.parametrize("machine", dotting(), ids=lambda machine: f"{machine.isa} {machine.dots}")
def test_the_largest_bytes_do_not_saturate(machine: Machine) -> None:
    """Sums of pairs of such products have no room in 16 bits, where older instructions add them up."""
    spec = ByteConv(dense((1, 1, 3, 64), "byte"), dense((1, 1, 3, 20)))
    weight = np.full((20, 64, 1, 1), -128, np.int8)
    weight[::2] = 127
    source = operand(spec.source, np.full(spec.source.shape, 255, np.uint8))
    found = outputs(spec, [source, operand(spec.weight(machine), byte_weight(weight, machine))], machine)
    assert np.array_equal(found, np.broadcast_to(64 * 255 * weight[:, 0, 0, 0].astype(np.float32), found.shape))


@pytest.mark.parametrize("machine", dotting(), ids=lambda machine: f"{machine.isa} {machine.dots}")
def test_bytes_are_stored_where_the_program_makes_them(machine: Machine) -> None:
    steps = [Step("mul", (Arg("acc"), Arg("const", value=0.01)))]
    for fn, value in (("round", 0.0), ("min", 255.0), ("max", 0.0)):
        args = (Arg("step", len(steps) - 1), *((Arg("const", value=value),) if fn != "round" else ()))
        steps.append(Step(fn, args))
    spec = ByteConv(dense((1, 2, 9, 8), "byte"), dense((1, 2, 9, 40), "byte"), program=Program(tuple(steps)))
    rng = np.random.default_rng(2)
    source = rng.integers(0, 256, spec.source.shape, np.uint8)
    weight = rng.integers(-128, 128, (40, 8, 1, 1), np.int8)
    packed = operand(spec.weight(machine), byte_weight(weight, machine))
    found = outputs(spec, [operand(spec.source, source), packed], machine)
    sums = source.astype(np.float32) @ weight[:, :, 0, 0].T.astype(np.float32)
    assert np.array_equal(found, np.clip(np.round(sums * np.float32(0.01)), 0, 255).astype(np.uint8))
    assert 0 < found.mean() < 255


@pytest.mark.parametrize(("isa", "register"), [("avx512", "%zmm"), ("avx2", "%ymm")])
def test_four_products_are_one_instruction(isa: str, register: str) -> None:
    spec, machine = ByteConv(dense((1, 14, 14, 64), "byte"), dense((1, 14, 14, 64))), VNNI[isa]
    function = emit(spec, candidates(spec, machine)[0], machine, "kernel")
    assembly = tvm.get_global_func("target.build.llvm")(lower(function, machine), target_of(machine, function))
    lines = [line for line in assembly.inspect_source("s").splitlines() if "vpdpbusd" in line]
    assert len(lines) >= 6 and all(register in line for line in lines)
