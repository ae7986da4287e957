"""Which convolutions pool their own outputs, and that the largest ones come out."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from gacer_tune.frontend.load import load_model
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.kernels.pool import Pool
from gacer_tune.lowering import fusion
from gacer_tune.lowering.lower import lower_model
from tests.support.build import model, node
from tests.support.compiled import build
from tests.support.kernels import bits, normal


def pooled(size: int = 28, channels: int = 16, outputs: tuple[str, ...] = (), **pooling: Any) -> onnx.ModelProto:
    """A 3x3 convolution, bias and ReLU, and a MaxPool of 2x2 unless `pooling` says otherwise."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"]),
        node("MaxPool", ["r"], ["y"], **{"kernel_shape": [2, 2], "strides": [2, 2], **pooling}),
    ]
    constants = {"w": normal(0, (channels, channels, 3, 3)), "b": normal(1, (channels,))}
    return model(nodes, {"x": (1, channels, size, size)}, ["y", *outputs], constants)


def pools(proto: onnx.ModelProto, folder: Path, machine: str = "avx2") -> int:
    """Kernels that only pool."""
    path = folder / "model.onnx"
    onnx.save(proto, str(path))
    ops = lower_model(load_model(path), MACHINES[machine], {}).ops
    return sum(isinstance(kernel.spec, Pool) for op in ops for kernel in op.kernels)


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (pooled(), 0),
        (pooled(size=29), 0),  # the last row and column are left out
        (pooled(size=29, auto_pad="VALID"), 0),
        (pooled(size=29, ceil_mode=1), 1),  # the last row and column are windows of their own
        (pooled(kernel_shape=[3, 3]), 1),
        (pooled(strides=[1, 1]), 1),
        (pooled(pads=[1, 1, 1, 1]), 1),
        (pooled(dilations=[2, 2]), 1),
        (pooled(outputs=("r",)), 1),  # what others read must be written
        (pooled(channels=12), 1),  # the direct way has no tiles of outputs
    ],
)
def test_what_pools(proto: onnx.ModelProto, expected: int, tmp_path: Path) -> None:
    assert pools(proto, tmp_path) == expected


def test_what_is_filtered_knows_its_flops_by_definition() -> None:
    """Of all outputs, also of those that no pool keeps; all kernels together do fewer."""
    ops = build([("pooled", pooled())], 1, most=1).compiled.workload.tenants[0].ops
    (conv,) = (op for op in ops if op.kind.startswith("winograd"))
    assert conv.direct >= 2 * 28 * 28 * 16 * 16 * 3 * 3 > sum(kernel.flops for kernel in conv.kernels)


@pytest.mark.parametrize("proto", [pooled(), pooled(size=15, channels=48), pooled(size=29)])
def test_pooled_at_once_has_the_bits_of_a_pooling(proto: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = build([("pooled", proto)], 1, most=1)
    monkeypatch.setattr(fusion, "_halves", lambda *_: False)
    behind = build([("pooled", proto)], 1, most=1)
    found, expected = ({n: bits(v) for n, v in built.bench.outputs().items()} for built in (at_once, behind))
    ops = [len(built.compiled.workload.tenants[0].ops) for built in (at_once, behind)]
    assert ops[0] + 1 == ops[1]
    assert found == expected
