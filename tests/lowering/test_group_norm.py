"""GroupNormalization, whose shape onnx does not infer, gives what ONNX Runtime gives, one behind the other, too."""

import numpy as np

from tests.support.build import CLOSE, model, node, run
from tests.support.compiled import build


def test_results_are_those_of_onnx_runtime() -> None:
    constants = {"g": np.linspace(0.5, 1.5, 12, dtype=np.float32), "b": np.linspace(-1, 1, 12, dtype=np.float32)}
    nodes = [
        node("GroupNormalization", ["x", "g", "b"], ["first"], num_groups=3),
        node("Relu", ["first"], ["positive"]),
        node("GroupNormalization", ["positive", "g", "b"], ["y"], num_groups=4, epsilon=0.1),
    ]
    proto = model(nodes, {"x": (2, 12, 5, 7)}, ["y"], constants, opset=21, ir=10)
    built = build([("norms", proto)], 1, most=1)
    tenant = built.compiled.workload.tenants[0]
    assert [op.kind for op in tenant.ops].count("channel_norm") == 2
    feeds = {port.name: built.bench.session.port(0, port) for port in tenant.inputs}
    assert np.abs(built.bench.outputs()["0/y"] - run(proto, feeds)[0]).max() <= CLOSE
