"""LSTM, GRU and RNN unrolled against ONNX Runtime's own."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.frontend.recurrent import unroll
from gacer_tune.frontend.shapes import fix_shapes
from gacer_tune.frontend.simplify import simplify
from tests.support.build import CLOSE, Array, difference, model, node, op_types, random_inputs

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUT, HIDDEN = 4, 2, 3, 5


def weights(op_type: str, directions: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    rows = GATES[op_type] * HIDDEN
    shapes = {"w": (directions, rows, INPUT), "r": (directions, rows, HIDDEN), "b": (directions, 2 * rows)}
    return {name: rng.uniform(-0.7, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def recurrent(
    op_type: str,
    direction: str = "forward",
    inputs: Sequence[str] = ("x", "w", "r", "b"),
    outputs: Sequence[str] = ("y", "y_h"),
    **options: object,
) -> onnx.ModelProto:
    """One recurrent node. Options: steps, opset, constants beside or instead of the weights, attributes."""
    steps, opset = options.pop("steps", STEPS), options.pop("opset", 17)
    directions = 2 if direction == "bidirectional" else 1
    constants = {**weights(op_type, directions), **options.pop("constants", {})}
    shapes = {"x": [steps, BATCH, INPUT]}
    shapes |= {name: [directions, BATCH, HIDDEN] for name in ("h0", "c0") if name in inputs and name not in constants}
    made = node(op_type, inputs, outputs, hidden_size=HIDDEN, direction=direction, **options)
    return model([made], shapes, [name for name in outputs if name], constants, opset=opset)


def unrolled(built: onnx.ModelProto) -> tuple[onnx.ModelProto, float]:
    """The model without recurrent operators and how much its outputs differ."""
    simple = unroll(simplify(built))
    assert not set(GATES) & set(op_types(simple))
    return simple, difference(built, simple, random_inputs(built))


DIRECTIONS = ("forward", "reverse", "bidirectional")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_all_directions(op_type: str, direction: str) -> None:
    assert unrolled(recurrent(op_type, direction))[1] <= CLOSE


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_initial_states(op_type: str, direction: str) -> None:
    states = ("h0", "c0") if op_type == "LSTM" else ("h0",)
    assert unrolled(recurrent(op_type, direction, ("x", "w", "r", "b", "", *states)))[1] <= CLOSE


@pytest.mark.parametrize("reset", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("state", [(), ("", "h0")])
def test_gru_reset_before_and_after(reset: int, direction: str, state: tuple[str, ...]) -> None:
    assert unrolled(recurrent("GRU", direction, ("x", "w", "r", "b", *state), linear_before_reset=reset))[1] <= CLOSE


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_without_bias(op_type: str) -> None:
    assert unrolled(recurrent(op_type, inputs=("x", "w", "r")))[1] <= CLOSE


@pytest.mark.parametrize("states", [("h0",), ("", "c0")])
def test_one_initial_state_of_an_lstm(states: tuple[str, ...]) -> None:
    assert unrolled(recurrent("LSTM", inputs=("x", "w", "r", "b", "", *states)))[1] <= CLOSE


def test_initial_states_that_are_zero_cost_nothing() -> None:
    zeros = {name: np.zeros((1, BATCH, HIDDEN), np.float32) for name in ("h0", "c0")}
    simple, found = unrolled(recurrent("LSTM", inputs=("x", "w", "r", "b", "", "h0", "c0"), constants=zeros))
    assert found <= CLOSE
    assert Counter(op_types(simple)) == Counter(op_types(unrolled(recurrent("LSTM"))[0]))


@pytest.mark.parametrize("outputs", [("y",), ("", "y_h"), ("", "", "y_c"), ("y", "", "y_c"), ("y", "y_h", "y_c")])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_only_the_outputs_that_are_read_are_made(outputs: tuple[str, ...], direction: str) -> None:
    simple, found = unrolled(recurrent("LSTM", direction, outputs=outputs))
    assert found <= CLOSE
    assert [item.name for item in simple.graph.output] == [name for name in outputs if name]
    if outputs[0] == "":
        assert "Reshape" not in op_types(simple)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_short_sequences(op_type: str, steps: int) -> None:
    assert unrolled(recurrent(op_type, "bidirectional", steps=steps))[1] <= CLOSE


@pytest.mark.parametrize("opset", [7, 9, 10, 13, 14])
def test_operator_sets(opset: int) -> None:
    assert unrolled(recurrent("LSTM", "bidirectional", opset=opset))[1] <= CLOSE


def test_the_input_is_projected_once() -> None:
    simple, found = unrolled(recurrent("LSTM", steps=6))
    assert found <= CLOSE
    assert Counter(op_types(simple))["MatMul"] == 1 + 5  # the first step has no state yet
    projection = next(item for item in simple.graph.node if item.op_type == "MatMul")
    assert projection.input[0] == "x"


def test_full_sequence_lengths_are_accepted() -> None:
    lengths = {"lengths": np.full(BATCH, STEPS, np.int32)}
    assert unrolled(recurrent("GRU", inputs=("x", "w", "r", "b", "lengths"), constants=lengths))[1] <= CLOSE


def test_weights_computed_from_constants() -> None:
    built = recurrent("LSTM")
    built.graph.node.insert(0, node("Neg", ["w"], ["w2"]))
    built.graph.node[1].input[1] = "w2"
    assert unrolled(built)[1] <= CLOSE


def test_spelt_out_default_activations() -> None:
    assert unrolled(recurrent("LSTM", "bidirectional", activations=["Sigmoid", "Tanh", "tanh"] * 2))[1] <= CLOSE


def test_two_layers() -> None:
    constants = weights("LSTM", 2) | {f"{name}2": value for name, value in weights("GRU", 1, 1).items()}
    constants["w2"] = np.random.default_rng(2).uniform(-0.5, 0.5, (1, 3 * HIDDEN, 2 * HIDDEN)).astype(np.float32)
    constants["s"] = np.array([STEPS, BATCH, -1])
    nodes = [
        node("LSTM", ["x", "w", "r", "b"], ["a"], hidden_size=HIDDEN, direction="bidirectional"),
        node("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "s"], ["c"]),
        node("GRU", ["c", "w2", "r2", "b2"], ["", "y"], hidden_size=HIDDEN),
    ]
    built = model(nodes, {"x": [STEPS, BATCH, INPUT]}, ["y"], constants)
    assert unrolled(built)[1] <= CLOSE


def test_models_without_recurrence_are_returned_as_they_are() -> None:
    built = model([node("Relu", ["x"], ["y"])], {"x": [2]}, ["y"])
    assert unroll(built) is built


def refusal(built: onnx.ModelProto) -> str:
    fix_shapes(built, {})
    with pytest.raises(UserError) as caught:
        unroll(simplify(built))
    return str(caught.value)


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (recurrent("LSTM", layout=1), "node 'n_y' (LSTM): layout 1 (batch first) is not supported, only 0"),
        (recurrent("GRU", clip=3.0), "node 'n_y' (GRU): clip is not supported"),
        (recurrent("LSTM", input_forget=1), "node 'n_y' (LSTM): input_forget (coupled gates) is not supported"),
        (
            recurrent("RNN", activations=["Relu"]),
            "node 'n_y' (RNN): activations Relu are not supported, only tanh",
        ),
        (
            recurrent("LSTM", inputs=("x", "w", "r", "b", "", "", "", "p"), constants={"p": np.zeros((1, 15), "f")}),
            "node 'n_y' (LSTM): peepholes (input P) are not supported",
        ),
        (
            recurrent("LSTM", inputs=("x", "w", "r", "b", "n"), constants={"n": np.array([4, 3], np.int32)}),
            "node 'n_y' (LSTM): sequence_lens is only supported as a constant equal to the 4 time steps",
        ),
        (recurrent("RNN", steps=513), "node 'n_y' (RNN): 513 time steps, only 1 to 512 are supported"),
        (
            recurrent("GRU", constants={"b": np.zeros((1, 7), np.float32)}),
            "node 'n_y' (GRU): the shapes of its weights do not fit together",
        ),
    ],
)  # fmt: skip
def test_refusals(built: onnx.ModelProto, text: str) -> None:
    if "layout" in text or "fit" in text:
        # onnx infers other shapes for these, which does not matter here.
        with pytest.raises(UserError) as caught:
            unroll(built)
        assert str(caught.value) == text
    else:
        assert refusal(built) == text


def test_weights_from_outside() -> None:
    built = recurrent("GRU")
    kept = [item for item in built.graph.initializer if item.name != "r"]
    del built.graph.initializer[:]
    built.graph.initializer.extend(kept)
    built.graph.input.append(onnx.helper.make_tensor_value_info("r", 1, [1, 15, 5]))
    assert refusal(built) == "node 'n_y' (GRU): its weights 'r' are not constant"


def test_an_input_of_unknown_length() -> None:
    nodes = [
        node("NonZero", ["x"], ["nz"]),
        node("Cast", ["nz"], ["f"], to=1),
        node("Unsqueeze", ["f", "axes"], ["u"]),
        node("RNN", ["u", "w", "r", "b"], ["y"], hidden_size=HIDDEN),
    ]
    constants = {**weights("RNN", 1), "axes": np.array([1])}
    built = model(nodes, {"x": [2]}, ["y"], constants)
    assert refusal(built) == "node 'n_y' (RNN): the shape of its input 'u' is not fixed"


@given(
    st.sampled_from(["LSTM", "GRU", "RNN"]),
    st.sampled_from(DIRECTIONS),
    st.integers(1, 5),
    st.sampled_from([("y",), ("", "y_h"), ("y", "y_h")]),
    st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_any_combination(op_type: str, direction: str, steps: int, outputs: tuple[str, ...], state: bool) -> None:
    inputs = ("x", "w", "r", "b", "", "h0") if state else ("x", "w", "r", "b")
    reset = {"linear_before_reset": steps % 2} if op_type == "GRU" else {}
    assert unrolled(recurrent(op_type, direction, inputs, outputs, steps=steps, **reset))[1] <= CLOSE


def test_the_longest_sequence_stays_quick() -> None:
    built = recurrent("RNN", steps=512, outputs=("", "y_h"))
    simple, found = unrolled(built)
    assert found <= CLOSE
    assert len(simple.graph.node) < 512 * 5
    assert len(simple.graph.initializer) < 512 + 10  # limits of slices are shared
