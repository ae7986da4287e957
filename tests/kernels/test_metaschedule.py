"""Variants of MetaSchedule's have the values of numpy and the bits of ours, in kernels and in whole schedules."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.devices.bench import Bench
from gacer_tune.executor.session import Session
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.shapes import input_bounds
from gacer_tune.ir.memory import place as memory
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.kernels import conv2d
from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.emit.space import NotScheduledError
from gacer_tune.kernels.pack import conv_weight
from gacer_tune.kernels.rules import Source, Spec, candidates
from gacer_tune.kernels.scheduled import CHANNELS, TAPS, Scheduled, is_scheduled
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.window import Window
from gacer_tune.lowering.lower import lower_model
from gacer_tune.metaschedule.records import find
from gacer_tune.metaschedule.variants import with_scheduled
from gacer_tune.preparing import link_module
from gacer_tune.search.trial import Timing
from gacer_tune.store.cache import Cache
from gacer_tune.tenants import Model, assemble, functions
from tests.support.build import model, node
from tests.support.kernels import (
    TOLERANCE,
    Array,
    Operand,
    call,
    compiled,
    convolved,
    error,
    evaluated,
    few,
    normal,
    operand,
    seeds,
)
from tests.support.scheduled import CONV, CPUS, MACHINE, TRIALS, empty, place, searched, tile_of


def values(spec: Spec, tile: object, cuts: tuple[int, ...], operands: list[Operand]) -> Array:
    """The output where the items are cut at `cuts` (per mille); everything around it must be left alone."""
    source = Source(spec, tile, MACHINE)
    items = tile.count if isinstance(tile, Scheduled) else conv2d.items(spec, tile, MACHINE)  # type: ignore[arg-type]
    kernel = compiled(source.emit("kernel"), MACHINE, "kernel")
    out = Operand(spec.out, np.nan)
    bounds = sorted({0, items, *(cut * items // 1000 for cut in cuts)})
    for lo, hi in itertools.pairwise(bounds):
        call(kernel, [*operands, out], lo, hi)
    assert out.untouched()
    return out.array.copy()


def conv_operands(spec: Conv2d, seed: int) -> tuple[list[Operand], Array]:
    """Random operands of a convolution, and what it computes in double precision."""
    inputs, each = spec.group_channels
    source, weight = normal(seed, spec.source.shape), normal(seed + 50, (each * spec.groups, inputs, *spec.window))
    rest = [operand(t, normal(seed + 1, t.shape)) for t in spec.program.operands]
    packed = operand(spec.weight(MACHINE), conv_weight(weight, spec.groups, MACHINE))
    window = Window(spec.window, spec.stride, spec.pad, spec.dilation, spec.source.shape[1:3], spec.out.shape[1:3])  # type: ignore[arg-type]
    expected = evaluated(spec.program, convolved(source, weight, spec.groups, window), [one.array for one in rest])
    return [operand(spec.source, source), packed, *rest], expected


@st.composite
def convolutions(draw: st.DrawFn) -> Conv2d:
    """Windows that leave the image, groups, channels that fill no vector, outputs with gaps."""
    groups, each, inputs = draw(st.sampled_from((1, 2))), draw(st.sampled_from((5, 16, 20))), draw(st.integers(1, 5))
    size, pad, stride = draw(st.integers(1, 3)), draw(st.integers(0, 1)), draw(st.integers(1, 2))
    dilation = draw(st.integers(1, 2))
    extent = 7
    out = (extent + 2 * pad - (size - 1) * dilation - 1) // stride + 1
    channels = groups * each
    gap = draw(st.sampled_from((0, 3)))
    view = Tensor((1, out, out, channels), (out * out * (channels + gap), out * (channels + gap), channels + gap, 1))
    pair = (size, size), (stride, stride), (pad, pad), (dilation, dilation)
    return Conv2d(dense((1, extent, extent, groups * inputs)), view, *pair, groups)


@few(6)
@given(convolutions(), seeds, st.tuples(st.integers(0, 1000), st.integers(0, 1000)))
def test_any_convolution_has_the_values_of_numpy_and_our_bits(spec: Conv2d, seed: int, cuts: tuple[int, int]) -> None:
    operands, expected = conv_operands(spec, seed)
    found = values(spec, tile_of(spec), cuts, operands)
    ours = values(spec, candidates(spec, MACHINE)[0], (), operands)
    assert error(found, expected) <= TOLERANCE
    assert found.tobytes() == ours.tobytes()


def test_a_product_with_a_batch_has_the_values_of_numpy() -> None:
    left, weight = normal(1, (2, 5, 24)), normal(2, (24, 20))
    blocks = -(-20 // MACHINE.pack)
    spec = BatchMatmul(dense(left.shape), dense((blocks, 24, MACHINE.pack)), dense((2, 5, 20)), constant=True)
    packed = operand(
        dense((1, blocks, 1, 1, 24, MACHINE.pack)),
        conv_weight(np.ascontiguousarray(weight.T)[:, :, None, None], 1, MACHINE),
    )
    found = values(spec, tile_of(spec), (500,), [operand(spec.left, left), packed])
    assert error(found, left.astype(np.float64) @ weight) <= TOLERANCE


FINE = tile_of(CONV).decisions


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 8}, "9 work items, not 8"),
        ({"space": 7}, "sketch 7, there are 2"),
        ({"decisions": FINE[:-1]}, "7 decisions, 8 are needed"),
        ({"decisions": (*FINE[:TAPS], (5, 1), *FINE[CHANNELS:])}, r"axis 5 of 9 in tiles of \(5, 1\)"),
        ({"decisions": (*FINE[:TAPS], (9,), *FINE[CHANNELS:])}, r"axis 5 of 9 in tiles of \(9,\)"),
        ({"decisions": ((0, 0, 0, 0), *FINE[1:])}, "axis 0 of 1"),
        ({"decisions": ((-1, -1, 1, 1), *FINE[1:])}, "axis 0 of 1"),
        ({"decisions": (*FINE[:-1], (4,))}, "unrolling"),
        ({"decisions": (*FINE[:-1], (0, 0))}, "unrolling"),
        ({"decisions": (*FINE[:TAPS], (3, 3), (2, 3), (0,))}, "another order"),
    ],
)
def test_decisions_that_do_not_fit_make_no_kernel(change: dict[str, object], message: str) -> None:
    tile = replace(tile_of(CONV), **change)  # type: ignore[arg-type]
    with pytest.raises(NotScheduledError, match=message):
        Source(CONV, tile, MACHINE).emit("kernel")


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a search that was made once for all tests."""
    folder = tmp_path_factory.getbasetemp() / "metaschedule-cache"
    searched(folder)
    return folder


def test_a_search_finds_variants_with_our_bits(cached: Path) -> None:
    for record in searched(cached):
        assert len(record.attempts) == record.asked == TRIALS
        assert len({attempt.tile for attempt in record.attempts}) == TRIALS
        assert all(isinstance(attempt.result, Timing) for attempt in record.attempts), record.attempts
        assert find(Cache(cached), empty(record.spec)) == record
    convolution = searched(cached)[0]
    operands, expected = conv_operands(CONV, 3)
    assert convolution.best is not None
    whole = values(CONV, convolution.best, (), operands)
    assert error(whole, expected) <= TOLERANCE
    assert values(CONV, convolution.best, (300, 700), operands).tobytes() == whole.tobytes()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A convolution and a product after it, each with a variant of MetaSchedule's beside our own."""
    folder = tmp_path_factory.mktemp("metaschedule-model")
    nodes = [
        node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["y"], ["z"]),
        node("Flatten", ["z"], ["f"]),
        node("MatMul", ["f", "m"], ["out"]),
    ]
    constants = {"w": normal(1, (16, 3, 3, 3)), "m": normal(2, (16 * 36, 24))}
    path = folder / "model.onnx"
    onnx.save(model(nodes, {"x": (2, 3, 12, 12)}, ["out"], constants), str(path))
    loaded = load_model(path)
    plain = assemble([Model("net", "0" * 64, lower_model(loaded, MACHINE, input_bounds(loaded)))], MACHINE)
    both = with_scheduled(plain, 2, place(folder / "cache"))
    names = functions(both.workload)
    module = link_module(both, names, Cache(folder / "cache"), lambda _: None)
    session = Session(module, both.workload, memory(both.workload), names, CPUS)
    session.place_weights(both.weights.items())
    return Bench(session)


def test_schedules_with_metaschedules_variants_give_the_same_bits(bench: Bench) -> None:
    rng, workload, digests, used = random.Random(5), bench.workload, set(), set()
    for _ in range(40):
        schedule = random_schedule(workload, len(CPUS), rng)
        digests.add(bench.digest(bench.load(schedule)))
        chosen = zip(workload.tenants[0].kernels, schedule.variants[0], strict=True)
        used |= {kernel.variants[variant].function for kernel, variant in chosen}
    assert digests == {bench.expected}
    assert sum(map(is_scheduled, used)) == 2, used


def test_ours_stay_and_come_first(bench: Bench) -> None:
    kernels = [kernel for kernel in bench.workload.tenants[0].kernels if len(kernel.variants) > 1]
    flags = [[is_scheduled(variant.function) for variant in kernel.variants] for kernel in kernels]
    found = [row for row in flags if any(row)]
    assert len(found) == 2
    assert all(row.index(True) == len(row) - 1 > 0 for row in found)
