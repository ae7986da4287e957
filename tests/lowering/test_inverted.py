"""Which convolutions become one kernel, and that it computes what they do."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from gacer_tune.frontend.load import load_model
from gacer_tune.kernels.inverted import Inverted
from gacer_tune.kernels.machine import AMX, MACHINES, Machine
from gacer_tune.kernels.narrow_inverted import NarrowInverted
from gacer_tune.lowering import inverted
from gacer_tune.lowering.lower import lower_model
from tests.support.build import model, node
from tests.support.compiled import build, emulated
from tests.support.kernels import error, normal


def residual(size: int = 20, narrow: int = 8, wide: int = 24, **changes: Any) -> onnx.ModelProto:
    """1x1, depthwise, 1x1, and the input added; changes: stride, outputs, window, `gate` between the last two.

    sliced: the input is a part of another value, whose rows are longer.
    """
    stride, window = changes.get("stride", 1), changes.get("window", 3)
    sliding = {"group": wide, "pads": [window // 2] * 4, "strides": [stride, stride]}
    before = [node("Conv", ["x", "w3"], ["z"]), node("Slice", ["z", "from", "to", "axis"], ["part"])]
    source, nodes = ("part", before) if changes.get("sliced") else ("x", [])
    nodes += [
        node("Conv", [source, "w0", "b0"], ["a"]),
        node("Clip", ["a", "zero", "six"], ["a6"]),
        node("Conv", ["a6", "w1", "b1"], ["b"], **sliding),
        node("Clip", ["b", "zero", "six"], ["b6"]),
    ]
    if changes.get("gate"):
        pooled = [node("GlobalAveragePool", ["b6"], ["g"]), node("Sigmoid", ["g"], ["s"])]
        nodes += [*pooled, node("Mul", ["b6", "s"], ["scaled"])]
    nodes.append(node("Conv", ["scaled" if changes.get("gate") else "b6", "w2", "b2"], ["c"]))
    nodes.append(node("Add", ["c", source], ["y"]) if stride == 1 else node("Relu", ["c"], ["y"]))
    constants = {
        "w0": normal(0, (wide, narrow, 1, 1)),
        "b0": normal(1, (wide,)),
        "w1": normal(2, (wide, 1, window, window)),
        "b1": normal(3, (wide,)),
        "w2": normal(4, (narrow, wide, 1, 1)),
        "b2": normal(5, (narrow,)),
        "w3": normal(6, (narrow, narrow, 1, 1)),
        **{name: np.array([value]) for name, value in (("from", 1), ("to", 1 + size), ("axis", 3))},
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
    }
    width = size + 2 if changes.get("sliced") else size
    return model(nodes, {"x": (1, narrow, size, width)}, ["y", *changes.get("outputs", ())], constants)


def ends(proto: onnx.ModelProto, folder: Path, machine: Machine = MACHINES["avx2"]) -> list[tuple[bool, bool]]:
    """Of each kernel that is an inverted residual: whether it has the convolution before, and the one behind."""
    path = folder / "model.onnx"
    onnx.save(proto, str(path))
    ops = lower_model(load_model(path), machine, {}).ops
    specs = [kernel.spec for op in ops for kernel in op.kernels]
    assert not any(isinstance(spec, NarrowInverted if machine.tiles == "" else Inverted) for spec in specs)
    found = [spec for spec in specs if isinstance(spec, Inverted | NarrowInverted)]
    return [(spec.expand is not None, spec.project is not None) for spec in found]


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (residual(), [(True, True)]),
        (residual(size=28, stride=2), [(True, True)]),
        (residual(outputs=["b6"]), [(True, False)]),  # what others read must be written
        (residual(outputs=["a6"]), [(False, True)]),
        (residual(outputs=["a6", "b6"]), []),
        (residual(gate=True), [(True, False)]),  # the gate needs all of the image
        (residual(narrow=160, wide=168), [(False, True)]),  # a lane would compute too much of what its neighbour does
        (residual(size=7), []),  # three rows for one lane, four for the other
        (residual(narrow=320, wide=400), []),  # weights leave no room in the cache
    ],
)
def test_what_becomes_one_kernel(proto: onnx.ModelProto, expected: list[tuple[bool, bool]], tmp_path: Path) -> None:
    assert ends(proto, tmp_path) == expected


@pytest.mark.parametrize(
    "proto",
    [
        residual(),
        residual(size=28, stride=2, window=5),
        residual(outputs=["b6"]),
        residual(gate=True),
        residual(wide=20),
    ],
)
def test_one_kernel_has_the_bits_of_several(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = build([("residual", proto)], 1, most=1)
    monkeypatch.setattr(inverted, "ROWS", 1 << 30)
    apart = build([("residual", proto)], 1, most=1)
    kernels = [len(built.compiled.workload.tenants[0].kernels) for built in (joined, apart)]
    found, expected = joined.bench.outputs(), apart.bench.outputs()
    assert kernels[0] < kernels[1]
    assert {name: value.tobytes() for name, value in found.items()} == {n: v.tobytes() for n, v in expected.items()}


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (residual(), [(True, True)]),
        (residual(outputs=["b6"]), [(True, False)]),
        (residual(outputs=["a6"]), [(False, True)]),
        (residual(gate=True), [(True, False)]),
        (residual(sliced=True), []),  # pixels of the input are not in one row
        (residual(narrow=4), []),  # few channels are no work for a tile
        (residual(narrow=640, wide=960), []),  # weights leave no room in the cache
    ],
)
def test_what_becomes_one_kernel_by_tiles(
    proto: onnx.ModelProto, expected: list[tuple[bool, bool]], tmp_path: Path
) -> None:
    assert ends(proto, tmp_path, AMX) == expected


@pytest.mark.parametrize(
    "proto",
    [
        residual(),
        residual(size=28, stride=2, window=5),
        residual(outputs=["b6"]),
        residual(outputs=["a6"]),
        residual(gate=True),
        residual(wide=20),
        residual(narrow=32, wide=40),
    ],
)
def test_one_kernel_by_tiles_computes_what_several_do(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what they round and it does not: the values between."""
    joined = build([("residual", proto)], 1, emulated(), most=1)
    monkeypatch.setattr(inverted, "ROWS", 1 << 30)
    apart = build([("residual", proto)], 1, emulated(), most=1)
    kernels = [len(built.compiled.workload.tenants[0].kernels) for built in (joined, apart)]
    found, expected = joined.bench.outputs(), apart.bench.outputs()
    assert kernels[0] < kernels[1]
    for name, value in found.items():
        assert error(value, expected[name]) <= 0.02, name
