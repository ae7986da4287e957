"""Attention becomes one op where nobody else needs its scores, and gives what ONNX Runtime gives."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from gacer_tune import inputs
from gacer_tune.frontend.load import load_model
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.lowering.lower import lower_model
from tests.support.build import model, node
from tests.support.compiled import build
from tests.support.kernels import TOLERANCE, error, normal

TOKENS, HEADS, DEPTH = 13, 2, 8
WIDE = HEADS * DEPTH


def attention(**changes: Any) -> onnx.ModelProto:
    """Projections, heads, masked scores, softmax, and the heads side by side again.

    changes: tokens, axis of the softmax, extra outputs, constant keys.
    """
    tokens = changes.get("tokens", TOKENS)
    names = ("q", "k", "v")
    nodes = [node("MatMul", ["x", f"w_{name}"], [f"m_{name}"]) for name in names]
    nodes += [node("Add", [f"m_{name}", f"b_{name}"], [f"s_{name}"]) for name in names]
    nodes += [node("Reshape", [f"s_{name}", "heads"], [f"r_{name}"]) for name in names]
    orders = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
    nodes += [node("Transpose", [f"r_{name}"], [f"t_{name}"], perm=order) for name, order in orders.items()]
    nodes += [
        node("MatMul", ["t_q", "fixed" if changes.get("constant") else "t_k"], ["products"]),
        node("Mul", ["products", "scale"], ["scaled"]),
        node("Add", ["scaled", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=changes.get("axis", -1)),
        node("MatMul", ["weights", "t_v"], ["context"]),
        node("Transpose", ["context"], ["turned"], perm=[0, 2, 1, 3]),
        node("Reshape", ["turned", "flat"], ["joined"]),
        node("MatMul", ["joined", "w_o"], ["y"]),
    ]
    constants = {f"w_{name}": 0.3 * normal(i, (WIDE, WIDE)) for i, name in enumerate((*names, "o"))}
    constants |= {f"b_{name}": normal(i + 9, (WIDE,)) for i, name in enumerate(names)}
    constants |= {
        "heads": np.array([0, 0, HEADS, DEPTH]),
        "flat": np.array([0, 0, WIDE]),
        "scale": np.array(DEPTH**-0.5, np.float32),
        "mask": np.where(np.arange(tokens) < tokens - 3, 0, -1e9).astype(np.float32),
        "fixed": normal(20, (1, HEADS, DEPTH, tokens)),
    }
    return model(nodes, {"x": (1, tokens, WIDE)}, ["y", *changes.get("outputs", ())], constants)


def kinds(proto: onnx.ModelProto, folder: Path, machine: Any = MACHINES["avx2"]) -> list[str]:
    path = folder / "model.onnx"
    onnx.save(proto, str(path))
    return [op.kind for op in lower_model(load_model(path), machine, {}).ops]


def test_attention_is_one_op_and_its_projections_another(tmp_path: Path) -> None:
    assert kinds(attention(), tmp_path) == ["matmul", "attention", "matmul"]


@pytest.mark.parametrize(
    "proto",
    [
        attention(outputs=["weights"]),
        attention(outputs=["masked"]),
        attention(axis=2),
        attention(constant=True),
        attention(tokens=3000),  # keys and values have no room in scratch
    ],
)
def test_other_chains_keep_their_parts(proto: onnx.ModelProto, tmp_path: Path) -> None:
    found = kinds(proto, tmp_path)
    assert "attention" not in found
    assert "softmax" in found


def test_a_gpu_computes_the_parts(tmp_path: Path) -> None:
    assert kinds(attention(), tmp_path, Gpu()).count("bmm") == 2


def test_results_are_those_of_onnx_runtime() -> None:
    proto = attention()
    built = build([("attention", proto)], 1, most=1)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(["y"], inputs.sample(built.compiled.workload.tenants[0], 0))
    assert error(built.bench.outputs()["0/y"], expected[0]) <= TOLERANCE
