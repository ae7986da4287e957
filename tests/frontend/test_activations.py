"""Activation functions spelt out in small operators are recognised, look-alikes are not."""

import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from gacer_tune.frontend.nodes import attribute
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, difference, model, node, op_types, random_inputs

SHAPE = [2, 3, 5]


class Writer:
    """Writes a formula in x as nodes; operands are names or numbers."""

    def __init__(self, dtype: type[np.floating] = np.float32) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.dtype = dtype

    def __call__(self, op_type: str, *operands: str | float, **attributes: object) -> str:
        names = []
        for operand in operands:
            if not isinstance(operand, str):
                name = f"c{len(self.constants)}"
                self.constants[name] = np.asarray(operand, self.dtype)
                names.append(name)
            else:
                names.append(operand)
        self.nodes.append(node(op_type, names, [f"v{len(self.nodes)}"], **attributes))
        return f"v{len(self.nodes) - 1}"

    def model(self, result: str, opset: int = 17) -> onnx.ModelProto:
        element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        types = {"x": element, result: element}
        return model(self.nodes, {"x": SHAPE}, [result], self.constants, opset=opset, types=types)


def recognised(write: Writer, result: str, opset: int = 17) -> tuple[onnx.ModelProto, float]:
    """The simple model and how much its outputs differ."""
    built = write.model(result, opset)
    simple = simplify(built)
    return simple, difference(built, simple, random_inputs(built))


ERF_ARGUMENTS: list[Callable[[Writer], str]] = [
    lambda w: w("Div", "x", math.sqrt(2)),
    lambda w: w("Mul", "x", math.sqrt(0.5)),
    lambda w: w("Mul", math.sqrt(0.5), "x"),
]
GELU_ENDS: list[Callable[[Writer, str], str]] = [
    lambda w, e: w("Mul", w("Mul", "x", w("Add", e, 1)), 0.5),
    lambda w, e: w("Mul", w("Mul", "x", 0.5), w("Add", e, 1)),
    lambda w, e: w("Mul", "x", w("Mul", w("Add", 1, e), 0.5)),
    lambda w, e: w("Mul", 0.5, w("Mul", w("Add", 1, e), "x")),
    lambda w, e: w("Div", w("Mul", w("Add", e, 1), "x"), 2),
    lambda w, e: w("Mul", "x", w("Add", w("Mul", e, 0.5), 0.5)),
]


@pytest.mark.parametrize("argument", range(len(ERF_ARGUMENTS)))
@pytest.mark.parametrize("end", range(len(GELU_ENDS)))
def test_gelu_by_erf(argument: int, end: int) -> None:
    write = Writer()
    result = GELU_ENDS[end](write, write("Erf", ERF_ARGUMENTS[argument](write)))
    simple, found = recognised(write, result)
    assert op_types(simple) == ["gacer.Gelu"]
    assert found <= CLOSE
    assert attribute(simple.graph.node[0], "approximate", "") == "none"


TANH_ARGUMENTS: list[Callable[[Writer], str]] = [
    lambda w: w("Mul", w("Add", "x", w("Mul", w("Pow", "x", 3), 0.044715)), math.sqrt(2 / math.pi)),
    lambda w: w("Mul", math.sqrt(2 / math.pi), w("Add", w("Mul", 0.044715, w("Mul", w("Mul", "x", "x"), "x")), "x")),
    lambda w: w("Mul", w("Mul", "x", 0.7978845608), w("Add", w("Mul", w("Mul", "x", 0.044715), "x"), 1)),
]


@pytest.mark.parametrize("argument", range(len(TANH_ARGUMENTS)))
@pytest.mark.parametrize("end", range(len(GELU_ENDS)))
def test_gelu_by_tanh(argument: int, end: int) -> None:
    write = Writer()
    result = GELU_ENDS[end](write, write("Tanh", TANH_ARGUMENTS[argument](write)))
    simple, found = recognised(write, result)
    assert op_types(simple) == ["gacer.Gelu"]
    assert found <= CLOSE
    assert attribute(simple.graph.node[0], "approximate", "") == "tanh"


@pytest.mark.parametrize("left", [False, True])
def test_silu(left: bool) -> None:
    write = Writer()
    sigmoid = write("Sigmoid", "x")
    simple, found = recognised(write, write("Mul", "x", sigmoid) if left else write("Mul", sigmoid, "x"))
    assert op_types(simple) == ["gacer.Silu"]
    assert found <= CLOSE


HARD_SWISHES: list[Callable[[Writer], str]] = [
    lambda w: w("Mul", "x", w("HardSigmoid", "x", alpha=1 / 6)),
    lambda w: w("Mul", w("HardSigmoid", "x", alpha=1 / 6, beta=0.5), "x"),
    lambda w: w("Div", w("Mul", "x", w("Clip", w("Add", "x", 3), 0, 6)), 6),
    lambda w: w("Mul", "x", w("Div", w("Clip", w("Add", 3, "x"), 0, 6), 6)),
    lambda w: w("Mul", w("Mul", w("Clip", w("Add", "x", 3), 0, 6), 1 / 6), "x"),
    lambda w: w("Mul", "x", w("Clip", w("Add", w("Div", "x", 6), 0.5), 0, 1)),
]


@pytest.mark.parametrize("spelling", range(len(HARD_SWISHES)))
def test_hardswish(spelling: int) -> None:
    write = Writer()
    simple, found = recognised(write, HARD_SWISHES[spelling](write))
    assert op_types(simple) == ["gacer.HardSwish"]
    assert found <= CLOSE


def test_hardswish_with_a_clip_of_old_operator_sets() -> None:
    write = Writer()
    clip = write("Clip", write("Add", "x", 3), min=0.0, max=6.0)
    simple, found = recognised(write, write("Div", write("Mul", "x", clip), 6), opset=9)
    assert op_types(simple) == ["gacer.HardSwish"]
    assert found <= CLOSE


@pytest.mark.parametrize(
    ("op_type", "opset", "attributes", "wanted"),
    [
        ("Gelu", 20, {}, "gacer.Gelu"),
        ("Gelu", 20, {"approximate": "tanh"}, "gacer.Gelu"),
        ("HardSwish", 14, {}, "gacer.HardSwish"),
    ],
)
def test_operators_of_onnx_get_our_names(op_type: str, opset: int, attributes: dict[str, str], wanted: str) -> None:
    built = model([node(op_type, ["x"], ["y"], **attributes)], {"x": SHAPE}, ["y"], opset=opset, ir=10)
    simple = simplify(built)
    assert op_types(simple) == [wanted]
    assert difference(built, simple, random_inputs(built)) <= CLOSE
    if op_type == "Gelu":
        assert attribute(simple.graph.node[0], "approximate", "") == attributes.get("approximate", "none")


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < 24, reason="Swish came with operator set 24")
@pytest.mark.parametrize(("alpha", "wanted"), [(1.0, "gacer.Silu"), (1.702, "Swish")])
def test_swish(alpha: float, wanted: str) -> None:
    built = model([node("Swish", ["x"], ["y"], alpha=alpha)], {"x": SHAPE}, ["y"], opset=24, ir=10)
    assert op_types(simplify(built)) == [wanted]


def _cubic(write: Writer, factor: float) -> str:
    cubic = write("Mul", write("Pow", "x", 3), factor)
    return write("Mul", write("Add", "x", cubic), math.sqrt(2 / math.pi))


LOOK_ALIKES: dict[str, Callable[[Writer], str]] = {
    "another factor": lambda w: w("Mul", w("Mul", "x", w("Add", w("Erf", w("Div", "x", math.sqrt(2))), 1)), 0.4),
    "another argument": lambda w: w("Mul", w("Mul", "x", w("Add", w("Erf", w("Div", "x", 1.5)), 1)), 0.5),
    "another cubic": lambda w: w("Mul", w("Mul", "x", w("Add", w("Tanh", _cubic(w, 0.05)), 1)), 0.5),
    "quick gelu": lambda w: w("Mul", "x", w("Sigmoid", w("Mul", "x", 1.702))),
    "another slope": lambda w: w("Mul", "x", w("HardSigmoid", "x", alpha=0.2)),
    "another limit": lambda w: w("Div", w("Mul", "x", w("Clip", w("Add", "x", 3), 0, 5)), 6),
    "another lower limit": lambda w: w("Div", w("Mul", "x", w("Clip", w("Add", "x", 3), -1, 6)), 6),
    "square": lambda w: w("Mul", w("Sigmoid", "x"), w("Sigmoid", "x")),
    "division": lambda w: w("Div", "x", w("Sigmoid", "x")),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alikes_are_left_alone(name: str) -> None:
    write = Writer()
    built = write.model(LOOK_ALIKES[name](write))
    simple = simplify(built)
    assert not any(op_type.startswith("gacer.") for op_type in op_types(simple))
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_an_intermediate_value_that_is_read_elsewhere_is_kept() -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"]), node("Neg", ["s"], ["z"])]
    built = model(nodes, {"x": SHAPE}, ["y", "z"])
    simple = simplify(built)
    assert op_types(simple) == ["Sigmoid", "Mul", "Neg"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_an_intermediate_value_that_is_an_output_is_kept() -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])]
    assert op_types(simplify(model(nodes, {"x": SHAPE}, ["s", "y"]))) == ["Sigmoid", "Mul"]


def test_two_different_values_are_no_silu() -> None:
    nodes = [node("Sigmoid", ["z"], ["s"]), node("Mul", ["x", "s"], ["y"])]
    assert op_types(simplify(model(nodes, {"x": SHAPE, "z": SHAPE}, ["y"]))) == ["Sigmoid", "Mul"]


def test_a_constant_that_adds_a_dimension_is_no_gelu() -> None:
    write = Writer()
    erf = write("Erf", write("Div", "x", math.sqrt(2)))
    result = write("Mul", write("Mul", "x", write("Add", erf, 1)), 0.5)
    write.constants = {name: value.reshape(1, 1, 1, 1) for name, value in write.constants.items()}
    assert "gacer.Gelu" not in op_types(simplify(write.model(result)))


def test_a_gated_product_keeps_its_gate() -> None:
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["m"]), node("Mul", ["m", "z"], ["y"])]
    built = model(nodes, {"x": SHAPE, "z": SHAPE}, ["y"])
    simple = simplify(built)
    assert op_types(simple) == ["gacer.Silu", "Mul"]
    assert difference(built, simple, random_inputs(built)) <= CLOSE


def test_half_precision_constants_are_near_enough() -> None:
    write = Writer(np.float16)
    erf = write("Erf", write("Div", "x", math.sqrt(2)))
    built = write.model(write("Mul", write("Mul", "x", write("Add", erf, 1)), 0.5))
    assert op_types(simplify(built)) == ["gacer.Gelu"]
    assert simplify(built).graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.permutations(range(3)))
@settings(max_examples=15, deadline=None)
def test_recognised_activations_in_a_row(kinds: list[int], order: list[int]) -> None:
    """One after the other and behind a product with constants: each is found, whatever surrounds it."""
    nodes: list[onnx.NodeProto] = []
    write = Writer()
    last = "x"
    for kind in kinds:
        start = len(write.nodes)
        spelt = (GELU_ENDS[order[0]](write, write("Erf", ERF_ARGUMENTS[order[1]](write))) if kind == 0
                 else GELU_ENDS[order[1]](write, write("Tanh", TANH_ARGUMENTS[order[2]](write))) if kind == 1
                 else write("Mul", "x", write("Sigmoid", "x")) if kind == 2
                 else HARD_SWISHES[order[0]](write))  # fmt: skip
        for item in write.nodes[start:]:
            item.input[:] = [last if name == "x" else name for name in item.input]
        last = spelt
        nodes = write.nodes
    wanted = ["gacer.Gelu", "gacer.Gelu", "gacer.Silu", "gacer.HardSwish"]
    built = model(nodes, {"x": SHAPE}, [last], write.constants)
    simple = simplify(built)
    assert op_types(simple) == [wanted[kind] for kind in kinds]
    assert difference(built, simple, random_inputs(built)) <= CLOSE
