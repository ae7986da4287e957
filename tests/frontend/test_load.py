"""From file to canonical model: the classic CNNs, a transformer block, and what the result promises."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from gacer_tune.errors import UserError
from gacer_tune.frontend.inference import require_static
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.simplify import simplify
from tests.support.build import FLOAT, INT64, Array, difference, model, node, op_types, random_inputs, run
from tests.support.light_models import NAMES, light_model, light_models

RNG = np.random.default_rng(11)


def load(folder: Path, built: onnx.ModelProto, **options: object) -> onnx.ModelProto:
    path = folder / "m.onnx"
    path.write_bytes(built.SerializeToString())
    return load_model(path, **options)


def with_logits(built: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose output is what the final Softmax reads: after it, most differences would have vanished."""
    copy = onnx.ModelProto()
    copy.CopyFrom(built)
    last = copy.graph.node[-1]
    if last.op_type == "Softmax":
        copy.graph.output[0].CopyFrom(helper.make_tensor_value_info(last.input[0], FLOAT, None))
    return copy


@pytest.mark.parametrize("name", NAMES)
def test_light_models_compute_the_same(tmp_path: Path, name: str) -> None:
    built = with_logits(light_model(name))
    loaded = load(tmp_path, built)
    kinds = set(op_types(loaded))
    assert not kinds & {"BatchNormalization", "Sum", "Dropout", "Identity", "Constant", "ConstantOfShape", "Unsqueeze"}
    feeds = random_inputs(built)
    assert difference(built, loaded, feeds) <= 2e-4
    onnx.checker.check_model(loaded)
    require_static(loaded)


def test_light_models_are_all_there() -> None:
    assert len(NAMES) == 9
    assert light_models().keys() == set(NAMES)
    assert light_model("squeezenet") is light_models()["squeezenet"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("squeezenet", {"Conv": 26, "Relu": 26, "Concat": 8, "MaxPool": 3, "GlobalAveragePool": 1, "Softmax": 1}),
        (
            "shufflenet",
            {
                **{"Conv": 49, "Relu": 33, "Reshape": 33, "Transpose": 16, "Add": 13, "AveragePool": 4, "Concat": 3},
                **{"MaxPool": 1, "Gemm": 1, "Softmax": 1},
            },
        ),
    ],
)
def test_light_models_have_only_their_operators(tmp_path: Path, name: str, wanted: dict[str, int]) -> None:
    kinds = op_types(load(tmp_path, light_model(name)))
    assert {kind: kinds.count(kind) for kind in kinds} == wanted


def test_batch_of_a_light_model(tmp_path: Path) -> None:
    built = light_model("squeezenet")
    loaded = load(tmp_path, built, batch=2)
    feeds = random_inputs(loaded)
    x = feeds["data_0"]
    assert x.shape == (2, 3, 224, 224)
    together = run(loaded, feeds)[0]
    for row in range(2):
        alone = run(built, {"data_0": x[row : row + 1]})[0]
        np.testing.assert_allclose(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)


def test_batch_of_a_model_that_fixes_it_inside(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"m\.onnx: batch 3 does not fit, the model seems to fix its batch inside: node"
    ):
        load(tmp_path, light_model("bvlc_alexnet"), batch=3)


def weights(*shape: int) -> Array:
    return (RNG.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


def transformer() -> onnx.ModelProto:
    """One block as exporters write it: shapes computed at run time, LayerNorm and Gelu spelt out."""
    constants = {
        **{name: weights(16, 16) for name in ("wq", "wk", "wv", "wo")},
        **{"w1": weights(16, 32), "w2": weights(32, 16), "table": weights(50, 16), "g": weights(16), "b": weights(16)},
        **{name: np.asarray(value, np.int64) for name, value in {"i0": 0, "i1": 1, "ax0": [0]}.items()},
        **{name: np.asarray(value, np.int64) for name, value in {"heads": [4], "size": [4], "full": [16]}.items()},
        **{
            name: np.float32(value)
            for name, value in {"two": 2, "e": 1e-5, "half": 0.5, "one": 1, "root": 2**0.5}.items()
        },
    }
    nodes = [node("Gather", ["table", "ids"], ["x"]), *target_shapes(), *attention(), *layernorm(), *feed_forward()]
    return model(nodes, {"ids": ["N", "S"]}, ["y"], constants, types={"ids": INT64})


def target_shapes() -> list[onnx.NodeProto]:
    nodes = [node("Shape", ["x"], ["s"])]
    for index in "01":
        nodes += [
            node("Gather", ["s", f"i{index}"], [f"s{index}"]),
            node("Unsqueeze", [f"s{index}", "ax0"], [f"u{index}"]),
        ]
    nodes.append(node("Concat", ["u0", "u1", "heads", "size"], ["split"], axis=0))
    return [*nodes, node("Concat", ["u0", "u1", "full"], ["join"], axis=0)]


def attention() -> list[onnx.NodeProto]:
    nodes: list[onnx.NodeProto] = []
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", ["x", f"w{name}"], [f"{name}1"]),
            node("Reshape", [f"{name}1", "split"], [f"{name}2"]),
            node("Transpose", [f"{name}2"], [f"{name}3"], perm=perm),
        ]
    return [
        *nodes,
        node("MatMul", ["q3", "k3"], ["a1"]),
        node("Div", ["a1", "two"], ["a2"]),
        node("Softmax", ["a2"], ["a3"], axis=-1),
        node("MatMul", ["a3", "v3"], ["a4"]),
        node("Transpose", ["a4"], ["a5"], perm=[0, 2, 1, 3]),
        node("Reshape", ["a5", "join"], ["a6"]),
        node("MatMul", ["a6", "wo"], ["a7"]),
        node("Add", ["x", "a7"], ["h"]),
    ]


def layernorm() -> list[onnx.NodeProto]:
    return [
        node("ReduceMean", ["h"], ["m"], axes=[-1]),
        node("Sub", ["h", "m"], ["d"]),
        node("Pow", ["d", "two"], ["q"]),
        node("ReduceMean", ["q"], ["var"], axes=[-1]),
        node("Add", ["var", "e"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]),
        node("Div", ["d", "sd"], ["n"]),
        node("Mul", ["n", "g"], ["ng"]),
        node("Add", ["ng", "b"], ["ln"]),
    ]


def feed_forward() -> list[onnx.NodeProto]:
    return [
        node("MatMul", ["ln", "w1"], ["f1"]),
        node("Div", ["f1", "root"], ["f2"]),
        node("Erf", ["f2"], ["f3"]),
        node("Add", ["f3", "one"], ["f4"]),
        node("Mul", ["f1", "f4"], ["f5"]),
        node("Mul", ["f5", "half"], ["f6"]),
        node("MatMul", ["f6", "w2"], ["y"]),
    ]


def test_a_transformer_block(tmp_path: Path) -> None:
    built = transformer()
    loaded = load(tmp_path, built, shapes={"ids": (2, 6)})
    kinds = op_types(loaded)
    assert {kind: kinds.count(kind) for kind in kinds} == {
        **{"Gather": 1, "MatMul": 6, "Split": 1, "Reshape": 4, "Transpose": 4, "Div": 1, "Softmax": 1, "Add": 1},
        **{"gacer.LayerNorm": 1, "gacer.Gelu": 1},
    }
    assert difference(built, loaded, random_inputs(loaded, high=50)) <= 1e-4


def test_open_shapes_are_refused_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, transformer())
    assert str(caught.value) == (
        f"{tmp_path / 'm.onnx'}: input 'ids': dimension 0 is symbolic ('N'); give its shape, as in --shape NAME:ids=1x1"
    )


def test_shapes_that_depend_on_data_are_refused_with_the_file(tmp_path: Path) -> None:
    built = model([node("NonZero", ["x"], ["y"])], {"x": [4]}, ["y"], types={"y": INT64})
    with pytest.raises(
        UserError, match=r"m\.onnx: node 'n_y' \(NonZero\): the shape of its output 'y' depends on the data"
    ):
        load(tmp_path, built)


def test_inputs_and_outputs_keep_names_order_and_types(tmp_path: Path) -> None:
    nodes = [node("Cast", ["b"], ["c"], to=FLOAT), node("Add", ["a", "c"], ["z"]), node("Relu", ["a"], ["y"])]
    loaded = load(tmp_path, model(nodes, {"b": [2], "unused": [3], "a": [2]}, ["z", "y"], types={"b": INT64}))
    assert [item.name for item in loaded.graph.input] == ["b", "unused", "a"]
    assert [item.name for item in loaded.graph.output] == ["z", "y"]
    assert [item.type.tensor_type.elem_type for item in loaded.graph.input] == [INT64, FLOAT, FLOAT]


def test_nodes_are_named_and_values_declared(tmp_path: Path) -> None:
    built = transformer()
    for item in built.graph.node:
        item.name = ""
    loaded = load(tmp_path, built, shapes={"ids": (1, 4)})
    names = [item.name for item in loaded.graph.node]
    assert "" not in names
    assert len(set(names)) == len(names)
    declared = {item.name for item in (*loaded.graph.value_info, *loaded.graph.output)}
    assert declared == {name for item in loaded.graph.node for name in item.output}


def test_our_operators_import_their_domain(tmp_path: Path) -> None:
    built = model([node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])], {"x": [2]}, ["y"])
    assert [(item.domain, item.version) for item in load(tmp_path, built).opset_import] == [("", 17), ("gacer", 1)]
    built = model([node("Sigmoid", ["x"], ["y"])], {"x": [2]}, ["y"])
    assert [item.domain for item in load(tmp_path, built).opset_import] == [""]


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_simplify_has_nothing_to_do_twice(tmp_path: Path, name: str) -> None:
    once = load(tmp_path, light_model(name))
    twice = simplify(once)
    assert op_types(twice) == op_types(once)


def test_the_callers_model_is_not_changed() -> None:
    built = model(
        [node("Identity", ["x"], ["i"]), node("Relu", ["i"], ["r"]), node("Identity", ["r"], ["y"])], {"x": [2]}, ["y"]
    )
    before = built.SerializeToString(deterministic=True)
    simplify(built)
    assert built.SerializeToString(deterministic=True) == before


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(tmp_path, transformer(), shapes={"ids": (1, 4)})
    assert capfd.readouterr() == ("", "")
