"""Compiles kernels, runs them on arrays whose surroundings are watched, and draws random operands for them."""

import ctypes
import math
import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gacer_tune.kernels.emit.compile import object_code
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.tensor import Tensor, dense
from gacer_tune.kernels.window import Window

Array = NDArray[Any]
GUARD = 64  # elements before and after an operand
TOLERANCE = 1e-5  # largest `error` of a kernel that only adds and multiplies


def few(examples: int) -> settings:
    """Settings for tests that compile (too slow to shrink): the same few examples each time.

    KERNEL_EXAMPLES=20 in the environment asks for 20 times as many, new ones each time.
    """
    factor = int(os.environ.get("KERNEL_EXAMPLES", "0"))
    return settings(
        max_examples=examples * max(1, factor),
        deadline=None,
        derandomize=factor == 0,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


def machines() -> list[Machine]:
    """All machines, widest vectors first; the code for one this processor is not is compiled for it all the same.

    Loops, tiles and packing stay those of the machine, only the compiler splits its vectors into narrower ones.
    """
    flags = set(Path("/proc/cpuinfo").read_text().split())
    needs = {"avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"}, "avx2": {"avx2", "fma"}, "x86-64": set[str]()}
    here = next(MACHINES[name] for name, wanted in needs.items() if wanted <= flags)
    return [MACHINES[n] if wanted <= flags else replace(MACHINES[n], mcpu=here.mcpu) for n, wanted in needs.items()]


class Operand:
    """An array behind a strided view: `array` is the view; what it skips and what lies around holds `fill`."""

    def __init__(self, tensor: Tensor, fill: float = 0.0) -> None:
        dtype = np.dtype({"bfloat16": "uint16", "byte": "uint8"}.get(tensor.dtype, tensor.dtype))
        self.fill = np.array(fill).astype(dtype) if dtype.kind == "f" else np.array(77).astype(dtype)
        self.tensor, self.memory = tensor, np.full(tensor.span + 2 * GUARD, self.fill, dtype)
        self.array = self._view(self.memory)

    def _view(self, memory: Array) -> Array:
        strides = [stride * memory.itemsize for stride in self.tensor.strides]
        return np.lib.stride_tricks.as_strided(memory[GUARD:], self.tensor.shape, strides)

    @property
    def address(self) -> int:
        return int(self.memory.ctypes.data) + GUARD * self.memory.itemsize

    def untouched(self) -> bool:
        """True when all that does not belong to the view still holds the fill."""
        inside = np.zeros(self.memory.shape, np.bool_)
        self._view(inside)[...] = True
        return np.array_equal(self.memory[~inside], np.full((~inside).sum(), self.fill), equal_nan=True)


def operand(tensor: Tensor, values: Array, fill: float = np.nan) -> Operand:
    found = Operand(tensor, fill)
    found.array[...] = values
    return found


def compiled(function: Any, machine: Machine, name: str) -> Any:
    """The kernel as a C function of addresses and the range of work items."""
    with tempfile.TemporaryDirectory() as folder:
        built, library = Path(folder) / "kernel.o", Path(folder) / "kernel.so"
        built.write_bytes(object_code(function, machine))
        subprocess.run(["cc", "-shared", "-o", library, built, "-lm"], check=True)
        return getattr(ctypes.CDLL(str(library)), name)


def call(kernel: Any, operands: Sequence[Operand], lo: int, hi: int) -> None:
    kernel(*(ctypes.c_void_p(found.address) for found in operands), lo, hi)


def bits(array: Array) -> bytes:
    return array.tobytes()


def rule_of(spec: Any) -> tuple[Any, Any]:
    """The module of the rule and the one that emits it."""
    name = type(spec).__module__
    return import_module(name), import_module(name.replace(".kernels.", ".kernels.emit."))


def variants(spec: Any, machine: Machine) -> list[tuple[Any, int, Any]]:
    """Tile, number of work items and compiled kernel of each candidate."""
    rule, emitter = rule_of(spec)
    found, tiles = [], rule.candidates(spec, machine)
    assert 1 <= len(set(tiles)) == len(tiles) <= 8
    for tile in tiles:
        kernel = compiled(emitter.emit(spec, tile, machine, "kernel"), machine, "kernel")
        found.append((tile, rule.items(spec, tile, machine), kernel))
    return found


def outputs(spec: Any, inputs: Sequence[Operand], machine: Machine, cut: float = 0.5) -> Array:
    """What the kernel computes, the same bits for all variants however the work items are cut in two.

    Nothing but the output is written, and all of it, whatever was there before.
    """
    before = [found.memory.copy() for found in inputs]
    first: Array | None = None
    for tile, items, kernel in variants(spec, machine):
        assert items >= 1, tile
        for parts in ((0, items), (0, round(cut * items), items)):
            out = Operand(spec.out, np.nan)
            for lo, hi in pairwise(parts):
                call(kernel, [*inputs, out], lo, hi)
            first = out.array.copy() if first is None else first
            assert bits(out.array) == bits(first), f"{tile} in {parts}: other bits"
            assert out.untouched(), f"{tile}: writes outside of its output"
    for found, memory in zip(inputs, before, strict=True):
        assert bits(found.memory) == bits(memory), "an input was written"
    assert first is not None
    return first


def results(
    spec: Any, written: Sequence[Tensor], inputs: Sequence[Operand], machine: Machine, rng: random.Random
) -> tuple[list[Array], list[str]]:
    """All that a kernel writes, by its first variant, and which variants give other bits or write elsewhere.

    Items are cut into ranges, which run in any order.
    """
    first: list[Array] = []
    odd = []
    for tile, items, kernel in variants(spec, machine):
        outs = [Operand(tensor, np.nan) for tensor in written]
        parts = list(pairwise(sorted({0, items, *(rng.randint(0, items) for _ in range(3))})))
        rng.shuffle(parts)
        for lo, hi in parts:
            call(kernel, [*inputs, *outs], lo, hi)
        first = first or [out.array.copy() for out in outs]
        same = [bits(out.array) == bits(one) for out, one in zip(outs, first, strict=True)]
        if not all(same) or not all(out.untouched() for out in outs):
            odd.append(f"{tile} in {parts}")
    return first, odd


def error(found: Array, expected: Array) -> float:
    """Largest difference relative to the largest value (at least 0.02, for results that cancel to nothing).

    Infinite when the shapes differ, not a number when one of the two is not finite where the other is.
    """
    if found.shape != expected.shape:
        return math.inf
    return float(np.abs(found.astype(np.float64) - expected).max() / max(np.abs(expected).max(), 0.02))


def close(found: Array, expected: Array, tolerance: float = TOLERANCE) -> None:
    assert error(found, expected) <= tolerance


def normal(seed: int, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


seeds = st.integers(0, 2**32 - 1)
cuts = st.floats(0, 1)


@st.composite
def views(draw: st.DrawFn, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
    """A view of a shape: dense, or with axes in any order and gaps between them."""
    if draw(st.booleans()):
        return dense(shape, dtype)
    strides, step = [0] * len(shape), 1
    for axis in draw(st.permutations(range(len(shape)))):
        strides[axis] = step
        step *= shape[axis] + draw(st.sampled_from((0, 0, 1, 3)))
    return Tensor(shape, tuple(strides), dtype)


NUMPY: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "mul": np.multiply,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "abs": np.abs,
}


@st.composite
def programs(draw: st.DrawFn, shape: tuple[int, ...]) -> Program:
    """Nothing, a bias along the last axis and an activation, or a product with another result of the same shape."""
    kind = draw(st.sampled_from(("none", "bias", "gate")))
    if kind == "none":
        return Program()
    if kind == "bias":
        bias = Tensor(shape, (*(0 for _ in shape[1:]), 1))
        last = Step(draw(st.sampled_from(("relu", "abs"))), (Arg("step", 0),))
        return Program((Step("add", (Arg("acc"), Arg("operand", 0))), last), (bias,))
    gate = draw(views(shape))
    steps = (Step("sigmoid", (Arg("acc"),)), Step("mul", (Arg("step", 0), Arg("operand", 0))))
    return Program(steps, (gate,))


def evaluated(program: Program, value: Array, operands: Sequence[Array]) -> Array:
    """What the program makes of a value, in double precision."""
    results = [np.asarray(value, np.float64)]
    for step in program.steps:
        known = {"acc": results[:1], "step": results[1:], "operand": operands}
        results.append(NUMPY[step.fn](*(known[arg.kind][arg.index] for arg in step.args)))
    return results[-1]


def epilogue(program: Program, seed: int) -> list[Operand]:
    """Random values for the operands of a program."""
    return [operand(tensor, normal(seed + 1 + i, tensor.shape)) for i, tensor in enumerate(program.operands)]


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """A convolution's window over a small image, which may be padded on any side."""
    axes = []
    for longest in (8, 14):
        size, step, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
        reach = (size - 1) * dilation + 1
        before, behind = draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))
        image = draw(st.integers(max(1, reach - before - behind), longest))
        axes.append((size, step, before, dilation, image, (image + before + behind - reach) // step + 1))
    return Window(*zip(*axes, strict=True))


def convolved(source: Array, weight: Array, groups: int, window: Window) -> Array:
    """Convolution of images (n, h, w, c) with weights (o, c / groups, rows, columns), in double precision."""
    outputs_, inputs, rows, columns = weight.shape
    found = np.zeros((source.shape[0], *window.out, groups, outputs_ // groups))
    split = source.astype(np.float64).reshape(*source.shape[:3], groups, inputs)
    kernels = weight.astype(np.float64).reshape(groups, outputs_ // groups, inputs, rows, columns)
    for y, x, row, column in np.ndindex(rows, columns, *window.out):
        at_y = row * window.stride[0] + y * window.dilation[0] - window.pad[0]
        at_x = column * window.stride[1] + x * window.dilation[1] - window.pad[1]
        if 0 <= at_y < source.shape[1] and 0 <= at_x < source.shape[2]:
            found[:, row, column] += np.einsum("ngc,goc->ngo", split[:, at_y, at_x], kernels[..., y, x])
    return found.reshape(source.shape[0], *window.out, outputs_)
