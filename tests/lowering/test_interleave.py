"""Channel shuffles behind concatenations are made in place, and nothing else is taken for one."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from gacer_tune import inputs
from gacer_tune.frontend.load import load_model
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.lowering.graph import Graph, read_graph
from gacer_tune.lowering.interleave import INTERLEAVE, interleaved
from gacer_tune.lowering.lower import LoweredModel, lower_model
from tests.support.build import model, node
from tests.support.compiled import build
from tests.support.kernels import TOLERANCE, error, normal

SIZE = 5


def shuffled(channels: tuple[int, ...] = (10, 10), **changes: Any) -> onnx.ModelProto:
    """Convolutions of two inputs, concatenated and shuffled; then a convolution of each half of the result.

    changes: perm of the Transpose, groups of the first Reshape, extra outputs.
    """
    groups, perm = changes.get("groups", len(channels)), changes.get("perm", [0, 2, 1, 3, 4])
    total = sum(channels)
    split = np.array([1, groups, total // groups, SIZE, SIZE])
    weights = {f"w{i}": normal(i, (count, 4, 1, 1)) for i, count in enumerate(channels)}
    names = [f"c{i}" for i in range(len(channels))]
    nodes = [
        *(node("Conv", ["x", f"w{i}"], [name]) for i, name in enumerate(names)),
        node("Concat", names, ["both"], axis=1),
        node("Reshape", ["both", "split"], ["groups"]),
        node("Transpose", ["groups"], ["turned"], perm=perm),
        node("Reshape", ["turned", "whole"], ["shuffled"]),
        node("Split", ["shuffled", "halves"], ["kept", "changed"], axis=1),
        node("Conv", ["changed", "w9"], ["y"], pads=[1, 1, 1, 1]),
        node("Relu", ["kept"], ["z"]),
    ]
    constants = {
        **weights,
        "w9": normal(9, (4, total - total // 2, 3, 3)),
        "split": split,
        "whole": np.array([1, total, SIZE, SIZE]),
        "halves": np.array([total // 2, total - total // 2]),
    }
    return model(nodes, {"x": (1, 4, SIZE, SIZE)}, ["y", "z", *changes.get("outputs", ())], constants)


def loaded(proto: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    path = folder / "model.onnx"
    onnx.save(proto, str(path))
    return load_model(path)


def graph_of(proto: onnx.ModelProto, folder: Path) -> Graph:
    return interleaved(read_graph(loaded(proto, folder)))


def lowered(proto: onnx.ModelProto, folder: Path) -> LoweredModel:
    return lower_model(loaded(proto, folder), MACHINES["avx2"], {})


@pytest.mark.parametrize("channels", [(10, 10), (4, 4, 4)])
def test_a_shuffle_becomes_one_node(channels: tuple[int, ...], tmp_path: Path) -> None:
    graph = graph_of(shuffled(channels), tmp_path)
    found = next(node for node in graph.nodes if node.op == INTERLEAVE)
    assert found.inputs == tuple(f"c{i}" for i in range(len(channels)))
    assert found.outputs == ("shuffled",)
    assert not {"Concat", "Reshape", "Transpose"} & {node.op for node in graph.nodes}


@pytest.mark.parametrize(
    "proto",
    [
        shuffled((12, 8)),  # operands of different sizes
        shuffled(groups=4),  # groups that are not the operands
        shuffled(perm=[0, 2, 1, 4, 3]),  # rows and columns change places too
        shuffled(outputs=["both"]),  # the concatenation is needed by itself
        shuffled(outputs=["turned"]),
    ],
)
def test_other_chains_stay_as_they_are(proto: onnx.ModelProto, tmp_path: Path) -> None:
    assert INTERLEAVE not in {node.op for node in graph_of(proto, tmp_path).nodes}


def test_what_is_shuffled_is_not_copied(tmp_path: Path) -> None:
    """Both operands are made where they belong, and both halves are read where they are."""
    ops = lowered(shuffled((16, 16)), tmp_path).ops
    assert "concat" not in [op.kind for op in ops]
    assert all(op.name.endswith(".output") for op in ops if op.kind == "copy")


@pytest.mark.parametrize("channels", [(10, 10), (4, 4, 4), (16, 16)])
def test_results_are_those_of_onnx_runtime(channels: tuple[int, ...]) -> None:
    proto = shuffled(channels)
    built = build([("shuffled", proto)], 1, most=1)
    tenant = built.compiled.workload.tenants[0]
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(["y", "z"], inputs.sample(tenant, 0))
    found = built.bench.outputs()
    for name, values in zip(("y", "z"), expected, strict=True):
        assert error(found[f"0/{name}"], values) <= TOLERANCE
