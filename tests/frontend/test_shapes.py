"""Fixing shapes: what the user may say, what must follow, and how it is refused."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.inference import require_static
from gacer_tune.frontend.shapes import fix_shapes
from tests.support.build import INT64, model, node

Dims = Sequence[int | str | None]


def relu(x: Dims, **options: object) -> onnx.ModelProto:
    return model([node("Relu", ["x"], ["y"])], {"x": x}, ["y"], **options)


def add(a: Dims, b: Dims) -> onnx.ModelProto:
    return model([node("Relu", ["a"], ["y"]), node("Relu", ["b"], ["z"])], {"a": a, "b": b}, ["y", "z"])


def fixed(
    built: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] = {}, batch: int | None = None
) -> dict[str, tuple]:
    """Shapes of inputs, outputs and values after fix_shapes."""
    fix_shapes(built, shapes, batch)
    items = [*built.graph.input, *built.graph.value_info, *built.graph.output]
    return {item.name: tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim) for item in items}


def refusal(built: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] = {}, batch: int | None = None) -> str:
    with pytest.raises(UserError) as caught:
        fix_shapes(built, shapes, batch)
    return str(caught.value)


def test_shapes_go_into_symbols() -> None:
    assert fixed(relu(["N", 3, "H", "W"]), {"x": (2, 3, 8, 9)}) == {"x": (2, 3, 8, 9), "y": (2, 3, 8, 9)}


def test_a_static_model_needs_nothing() -> None:
    assert fixed(relu([2, 3])) == {"x": (2, 3), "y": (2, 3)}


def test_scalars() -> None:
    assert fixed(relu([])) == {"x": (), "y": ()}


def test_an_input_without_rank_takes_any_shape() -> None:
    built = relu([1])
    built.graph.input[0].type.tensor_type.ClearField("shape")
    assert fixed(built, {"x": (4, 5)})["y"] == (4, 5)


def test_a_symbol_is_fixed_everywhere() -> None:
    assert fixed(add(["N", "S"], ["N", "S"]), {"a": (2, 7)})["z"] == (2, 7)


def test_a_symbol_with_two_values_is_fixed_nowhere_else() -> None:
    built = model(
        [node("Relu", [name], [f"y{name}"]) for name in "abc"], {name: ["N"] for name in "abc"}, ["ya", "yb", "yc"]
    )
    assert refusal(built, {"a": (1,), "b": (2,)}) == (
        "input 'c': dimension 0 is symbolic ('N'); give its shape, as in --shape NAME:c=1"
    )


@pytest.mark.parametrize(
    ("dims", "text"),
    [
        (["N", 3], "input 'x': dimension 0 is symbolic ('N'); give its shape, as in --shape NAME:x=1x3"),
        ([2, None], "input 'x': dimension 1 is unknown; give its shape, as in --shape NAME:x=2x1"),
        ([0, 3], "input 'x': dimension 0 is 0; give its shape, as in --shape NAME:x=1x3"),
        ([-1, 3], "input 'x': dimension 0 is -1; give its shape, as in --shape NAME:x=1x3"),
    ],
)
def test_open_dimensions_are_named(dims: Dims, text: str) -> None:
    assert refusal(relu(dims)) == text


def test_an_input_without_rank_is_named() -> None:
    built = relu([1])
    built.graph.input[0].type.tensor_type.ClearField("shape")
    assert refusal(built) == "input 'x' has no shape in the model; give one, as in --shape NAME:x=1x3x224x224"


def test_unknown_input() -> None:
    assert refusal(add([1], [1]), {"c": (1,)}) == "no input 'c', the inputs are: a, b"


@pytest.mark.parametrize(
    ("dims", "text"),
    [
        ((2, 3, 4), "input 'x': shape 2x3x4 has 3 dimensions, the model has 2"),
        ((2, 4), "input 'x': dimension 1 is 3 in the model, 4 was given"),
        ((0, 3), "input 'x': shape 0x3 was given, every dimension must be at least 1"),
        ((-2, 3), "input 'x': shape -2x3 was given, every dimension must be at least 1"),
        ((2**31 + 1, 3), "input 'x': shape 2147483649x3 has dimension 2147483649, at most 2147483648"),
    ],
)
def test_shapes_that_contradict_the_model(dims: tuple[int, ...], text: str) -> None:
    assert refusal(relu(["N", 3]), {"x": dims}) == text


def test_too_many_elements() -> None:
    text = "input 'x': shape 4294967296 has dimension 4294967296, at most 2147483648"
    assert refusal(relu(["N"]), {"x": (2**32,)}) == text
    text = "input 'x': shape 131072x131072 has 17179869184 elements, at most 8589934592"
    assert refusal(relu(["N", "M"]), {"x": (2**17, 2**17)}) == text


def test_a_fixed_batch_hints_at_the_batch_option() -> None:
    assert refusal(relu([1, 3]), {"x": (4, 3)}) == (
        "input 'x': dimension 0 is 1 in the model, 4 was given, use the batch option to change a fixed batch"
    )


def test_inputs_that_are_no_tensors() -> None:
    built = relu([1])
    built.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1]))
    assert refusal(built) == "input 'x' is a sequence, only tensors are supported"


def test_batch_replaces_symbols_only_where_they_are() -> None:
    assert fixed(add(["N", 3], [5]), batch=4) == {"a": (4, 3), "b": (5,), "y": (4, 3), "z": (5,)}


def test_batch_replaces_its_symbol_in_other_places() -> None:
    assert fixed(add(["N", 3], [7, "N"]), batch=4)["b"] == (7, 4)


def test_batch_replaces_unknown_first_dimensions() -> None:
    assert fixed(relu([None, 3]), batch=4)["y"] == (4, 3)


def test_batch_changes_a_fixed_first_dimension_of_all() -> None:
    assert fixed(add([1, 3], [1, 5]), batch=4) == {"a": (4, 3), "b": (4, 5), "y": (4, 3), "z": (4, 5)}


def test_batch_leaves_scalars() -> None:
    assert fixed(add([1, 3], []), batch=4)["b"] == ()


def test_batch_and_shapes_together() -> None:
    assert fixed(relu(["N", "M"]), {"x": (4, 6)}, 4)["y"] == (4, 6)
    assert refusal(relu(["N", "M"]), {"x": (2, 6)}, 4) == "input 'x': shape 2x6 and batch 4 contradict each other"


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (add([1], [2]), "batch 4 was given, but the inputs have no common first dimension (a: 1, b: 2)"),
        (relu([]), "batch 4 was given, but the inputs have no common first dimension (none has dimensions)"),
    ],
)
def test_batch_without_a_common_dimension(built: onnx.ModelProto, text: str) -> None:
    assert refusal(built, batch=4) == text


def test_batch_must_be_positive() -> None:
    assert refusal(relu(["N"]), batch=0) == "batch 0 was given, it must be at least 1"


def flatten(target: list[int]) -> onnx.ModelProto:
    return model([node("Reshape", ["x", "s"], ["y"])], {"x": [1, 3, 4]}, ["y"], {"s": np.array(target)})


def test_batch_follows_a_reshape_that_lets_it() -> None:
    assert fixed(flatten([0, -1]), batch=5)["y"] == (5, 12)


def test_batch_against_a_constant_reshape() -> None:
    assert refusal(flatten([1, 12]), batch=5) == (
        "batch 5 does not fit, the model seems to fix its batch inside: "
        "node 'n_y' (Reshape): cannot reshape 5x3x4 into 1x12"
    )


def test_batch_that_slips_into_another_dimension() -> None:
    built = flatten([1, -1])
    built.graph.output[0].type.tensor_type.shape.CopyFrom(helper.make_tensor_type_proto(1, [1, 12]).tensor_type.shape)
    assert refusal(built, batch=5) == "batch 5 does not fit, the model fixes its batch inside: output 'y' is 1x60"


def test_outputs_that_do_not_start_with_the_batch_are_free() -> None:
    built = model([node("Transpose", ["x"], ["y"], perm=[1, 0])], {"x": [1, 3]}, ["y"])
    built.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1]))
    assert fixed(built, batch=2)["y"] == (3, 2)


def test_stale_declarations_are_replaced() -> None:
    built = model([node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])], {"x": [1, 3]}, ["y"])
    built.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 3]))
    assert fixed(built, batch=2) == {"x": (2, 3), "a": (2, 3), "y": (2, 3)}


def test_shapes_that_do_not_fit_inside() -> None:
    built = model(
        [node("Conv", ["x", "w"], ["y"])], {"x": ["N", "C", 4, 4]}, ["y"], {"w": np.zeros((2, 3, 1, 1), np.float32)}
    )
    assert refusal(built, {"x": (1, 4, 4, 4)}) == (
        "the shapes given (x=1x4x4x4) do not fit the model: node 'n_y' (Conv): 4 input channels, its weights need 3"
    )


def test_a_model_that_contradicts_itself() -> None:
    built = model([node("MatMul", ["x", "w"], ["y"])], {"x": [2, 3]}, ["y"], {"w": np.zeros((4, 5), np.float32)})
    text = refusal(built)
    assert text.startswith("shapes do not fit together: ")
    assert "n_y" in text or "MatMul" in text


@pytest.mark.parametrize(
    ("bias", "group", "text"),
    [
        (5, 1, "node 'n_y' (Conv): 'b' has shape 5, it must be 4"),
        (4, 3, "node 'n_y' (Conv): 2 input channels, its weights need 6"),
    ],
)
def test_convolutions_that_cannot_be(bias: int, group: int, text: str) -> None:
    built = model(
        [node("Conv", ["x", "w", "b"], ["y"], group=group)],
        {"x": [1, 2, 4, 4]},
        ["y"],
        {"w": np.zeros((4, 2, 1, 1), np.float32), "b": np.zeros(bias, np.float32)},
    )
    assert refusal(built) == text


def test_require_static_names_the_node() -> None:
    built = model([node("NonZero", ["x"], ["y"])], {"x": [4]}, ["y"], types={"y": INT64})
    fix_shapes(built, {})
    with pytest.raises(UserError) as caught:
        require_static(built)
    assert str(caught.value) == (
        "node 'n_y' (NonZero): the shape of its output 'y' depends on the data, only static shapes are supported"
    )


def test_require_static_refuses_empty_values() -> None:
    constants = {"s": np.array([0]), "e": np.array([0])}
    built = model([node("Slice", ["x", "s", "e"], ["y"])], {"x": [4, 2]}, ["y"], constants)
    fix_shapes(built, {})
    with pytest.raises(UserError) as caught:
        require_static(built)
    assert str(caught.value) == "node 'n_y' (Slice): its output 'y' is empty, its shape is 0x2"


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.integers(1, 5),
)
def test_any_choice_of_symbols_gives_the_shape_asked_for(dims: list[int], symbolic: list[bool], batch: int) -> None:
    declared: list[int | str] = [f"d{i}" if symbolic[i] else dim for i, dim in enumerate(dims)]
    assert fixed(relu(declared), {"x": tuple(dims)})["y"] == tuple(dims)
    assert fixed(relu(["N", *dims]), batch=batch)["y"] == (batch, *dims)
    assert fixed(relu([3, *dims]), batch=batch)["y"] == (batch, *dims)
