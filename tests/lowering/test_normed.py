"""Which products normalise their rows themselves, and that this gives the bits of two kernels."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from gacer_tune.frontend.load import load_model
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.lowering import normed
from gacer_tune.lowering.lower import lower_model
from tests.support.build import model, node
from tests.support.compiled import build
from tests.support.kernels import bits, normal

JOINED, APART = ["matmul_norm"], ["matmul", "layer_norm"]


def encoder(rows: tuple[int, ...] = (1, 64), behind: str = "", **changes: Any) -> onnx.ModelProto:
    """x W + b, and r added to it, normalised over the last axis, and a ReLU.

    behind: an operator that reads the sum, too. changes: axis, outputs, k.
    """
    k = changes.get("k", 24)
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Add", ["m", "b"], ["s"]),
        node("Add", ["s", "r"], ["sum"]),
        node("LayerNormalization", ["sum", "scale", "shift"], ["n"], axis=changes.get("axis", -1)),
        node("Relu", ["n"], ["y"]),
    ]
    nodes += [node(behind, ["sum", "y"] if behind == "Add" else ["sum"], ["z"])] if behind else []
    constants = {"w": 0.3 * normal(0, (k, 24)), "b": normal(1, (24,))}
    normalised = (24,) if changes.get("axis", -1) == -1 else (*rows[1:], 24)
    constants |= {"scale": normal(2, normalised), "shift": normal(3, normalised)}
    outputs = ["z" if behind == "Add" else "y", *(["z"] if behind == "Softmax" else []), *changes.get("outputs", ())]
    return model(nodes, {"x": (*rows, k), "r": (*rows, 24)}, outputs, constants)


def root_mean_square() -> onnx.ModelProto:
    """A product whose rows are divided by the root of the mean of their squares."""
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Mul", ["m", "m"], ["squares"]),
        node("ReduceMean", ["squares"], ["mean"], axes=[-1]),
        node("Add", ["mean", "small"], ["raised"]),
        node("Sqrt", ["raised"], ["root"]),
        node("Div", ["m", "root"], ["n"]),
        node("Mul", ["n", "scale"], ["y"]),
    ]
    constants = {"w": normal(0, (24, 24)), "scale": normal(1, (24,)), "small": np.array(1e-5, np.float32)}
    return model(nodes, {"x": (64, 24)}, ["y"], constants)


def kinds(proto: onnx.ModelProto, folder: Path, machine: Any = MACHINES["avx2"], lanes: int = 2) -> list[str]:
    path = folder / "model.onnx"
    onnx.save(proto, str(path))
    return [op.kind for op in lower_model(load_model(path), machine, {}, lanes).ops]


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (encoder(), JOINED),
        (encoder(rows=(8, 8)), JOINED),
        (encoder(rows=(2, 31)), JOINED),
        (root_mean_square(), JOINED),
        (encoder(outputs=("sum",)), APART),  # what others read must be written
        (encoder(behind="Softmax"), ["matmul", "softmax", "layer_norm"]),
        (encoder(behind="Add"), APART),
        (encoder(rows=(1, 12)), APART),  # few rows
        (encoder(outputs=("s",)), ["matmul", "map", "layer_norm"]),
        (encoder(axis=-2), ["matmul", "default", "map"]),
    ],
)
def test_what_becomes_one_kernel(proto: onnx.ModelProto, expected: list[str], tmp_path: Path) -> None:
    assert kinds(proto, tmp_path) == expected


def test_a_gpu_keeps_two(tmp_path: Path) -> None:
    assert [kind for kind in kinds(encoder(), tmp_path, Gpu()) if kind != "copy"] == APART


def test_lanes_that_cannot_share_blocks_of_rows_evenly_have_two(tmp_path: Path) -> None:
    assert [kinds(encoder(), tmp_path, lanes=lanes) for lanes in (2, 3, 4, 5)] == [JOINED, APART, JOINED, APART]


@pytest.mark.parametrize("proto", [encoder(rows=(1, 70)), encoder(rows=(3, 32), k=100), root_mean_square()])
def test_one_kernel_has_the_bits_of_two(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = build([("encoder", proto)], 1)
    monkeypatch.setattr(normed, "pays", lambda *_: False)
    apart = build([("encoder", proto)], 1)
    kernels = [len(built.compiled.workload.tenants[0].kernels) for built in (joined, apart)]
    found, expected = ({n: bits(v) for n, v in built.bench.outputs().items()} for built in (joined, apart))
    assert kernels[0] + 1 == kernels[1]
    assert found == expected
