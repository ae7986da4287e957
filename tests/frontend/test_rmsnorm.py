"""Root mean square normalisation, named or spelt out, becomes gacer.RmsNorm, and its scale part of the kernel."""

from typing import Any

import numpy as np
import onnx
import pytest

from gacer_tune.frontend.nodes import attribute
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, difference, model, node, op_types, random_inputs, run
from tests.support.compiled import build

SHAPE = (2, 3, 21)


def spelt_out(square: str = "Pow", quotient: str = "Div", **changes: Any) -> onnx.ModelProto:
    """changes: axes of the mean, divided: the numerator, outputs of the model."""
    nodes = [
        node("Pow", ["x", "two"], ["q"]) if square == "Pow" else node("Mul", ["x", "x"], ["q"]),
        node("ReduceMean", ["q"], ["v"], axes=changes.get("axes", [-1])),
        node("Add", ["e", "v"], ["ve"]),
        node("Sqrt", ["ve"], ["s"]),
    ]
    x = changes.get("divided", "x")
    if quotient == "Div":
        nodes += [node("Div", [x, "s"], ["n"])]
    else:
        inverse = node("Reciprocal", ["s"], ["i"]) if quotient == "Reciprocal" else node("Div", ["one", "s"], ["i"])
        nodes += [inverse, node("Mul", [x, "i"], ["n"])]
    nodes += [node("Mul", ["g", "n"], ["y"])]
    constants = {"two": np.float32(2), "one": np.float32(1), "e": np.float32(1e-3)}
    constants |= {"g": np.linspace(0.5, 1.5, SHAPE[-1], dtype=np.float32)}
    outputs = ["y", *changes.get("outputs", ())]
    return model(nodes, {"x": SHAPE, "z": SHAPE}, outputs, constants)


def named(**attributes: Any) -> onnx.ModelProto:
    scale = np.linspace(0.5, 1.5, SHAPE[-1], dtype=np.float32)
    made = node("RMSNormalization", ["x", "g"], ["y"], **attributes)
    return model([made], {"x": SHAPE}, ["y"], {"g": scale}, opset=23, ir=10)


@pytest.mark.parametrize("quotient", ["Div", "Reciprocal", "inverse"])
@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_spellings(square: str, quotient: str) -> None:
    built = spelt_out(square, quotient)
    simple = simplify(built)
    assert op_types(simple) == ["gacer.RmsNorm", "Mul"]
    assert attribute(simple.graph.node[0], "epsilon", 0.0) == pytest.approx(1e-3)
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_the_operator() -> None:
    simple = simplify(named(epsilon=0.01))
    assert op_types(simple) == ["gacer.RmsNorm", "Mul"]
    assert attribute(simple.graph.node[0], "epsilon", 0.0) == pytest.approx(0.01)
    assert difference(named(epsilon=0.01), simple, random_inputs(simple)) <= CLOSE


@pytest.mark.parametrize("changes", [{"axes": [1]}, {"axes": [1, 2]}, {"divided": "z"}, {"outputs": ["s"]}])
def test_what_only_looks_like_it_stays(changes: dict[str, Any]) -> None:
    built = spelt_out(**changes)
    assert "gacer.RmsNorm" not in op_types(simplify(built))


def test_whole_path() -> None:
    """One kernel, scale included."""
    protos = [spelt_out(), named()]
    built = build([(f"m{number}", proto) for number, proto in enumerate(protos)], 1, most=2)
    found = built.bench.outputs()
    for number, (proto, tenant) in enumerate(zip(protos, built.compiled.workload.tenants, strict=True)):
        feeds = {port.name: built.bench.session.port(number, port) for port in tenant.inputs}
        assert [op.kind for op in tenant.ops] == ["rms_norm"]
        assert np.abs(found[f"{number}/y"] - run(proto, feeds)[0]).max() <= CLOSE
