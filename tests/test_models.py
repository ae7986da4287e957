"""The built models: valid, runnable, of the published sizes, the same from the same seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

import models.graph
from models import MODELS
from models.builder import Builder
from models.transformer import attention
from tests.support.small_models import SMALL, TABLE_ROWS

Arrays = dict[str, npt.NDArray[Any]]

# Covered by another size of the same family: building them whole takes too long here.
LARGE = {"bert_base", "vit_small"}

# Trainable parameters, and 10^9 multiplications of convolutions and dense layers (None where no such number is
# published for this input), as torchvision, timm and Hugging Face state them. GoogLeNet: without batch normalization,
# as first published. U-Net, Tiny YOLO and the small BERT: added up from the published layers.
PUBLISHED: dict[str, tuple[int, float | None]] = {
    "alexnet": (61_100_840, 0.714),
    "vgg16": (138_357_544, 15.47),
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "googlenet": (6_998_552, 1.58),
    "inception": (23_834_568, 5.713),
    "densenet121": (7_978_856, 2.834),
    "squeezenet": (1_235_496, 0.349),
    "shufflenet": (2_278_604, 0.145),
    "mobilenet_v2": (3_504_872, 0.301),
    "mobilenet_v3": (5_483_032, 0.217),
    "efficientnet_b0": (5_288_548, 0.386),
    "unet": (31_037_698, None),
    "tiny_yolo": (15_861_773, None),
    "bert_base": (109_482_240, None),
    "bert_small": (11_170_560, None),
    "vit_tiny": (5_717_416, None),
    "vit_small": (22_050_664, None),
}


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _inputs(model: onnx.ModelProto, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    arrays: Arrays = {}
    for value in model.graph.input:
        if value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
            arrays[value.name] = random.integers(0, TABLE_ROWS, _dims(value), dtype=np.int64)
        else:
            arrays[value.name] = random.standard_normal(_dims(value), dtype=np.float32)
    return arrays


def _run(model: onnx.ModelProto, inputs: Arrays) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.output]
    return dict(zip(names, session.run(names, inputs), strict=True))


def _one(pair: Arrays, single: onnx.ModelProto, index: int) -> Arrays:
    """Item `index` of a batch of two, as an input of the same model with batch 1."""
    item: Arrays = {}
    for value in single.graph.input:
        array = pair[value.name]
        axis = next(axis for axis, size in enumerate(_dims(value)) if size != array.shape[axis])
        item[value.name] = np.take(array, [index], axis)
    return item


def test_every_model_is_covered() -> None:
    assert set(MODELS) == (set(SMALL) & set(MODELS)) | LARGE
    assert set(MODELS) - set(PUBLISHED) == {"ssd", "lstm", "dlrm", "tiny_branchy", "tiny_mlp", "tiny_attention"}


@pytest.mark.parametrize("name", SMALL)
def test_small_model_is_valid_and_computes_each_item_of_a_batch_alone(name: str) -> None:
    pair_model, single_model = SMALL[name](batch=2), SMALL[name](batch=1)
    for model in (pair_model, single_model):
        onnx.checker.check_model(model, full_check=True)
        assert (model.ir_version, [entry.version for entry in model.opset_import]) == (8, [17])
    inputs = _inputs(pair_model, seed=1)
    together = _run(pair_model, inputs)
    apart = [_run(single_model, _one(inputs, single_model, index)) for index in (0, 1)]
    for value in pair_model.graph.output:
        result = together[value.name]
        assert result.shape == _dims(value)
        assert np.isfinite(result).all()
        scale = float(result.std())
        assert 1e-3 < scale < 1e3
        for index in (0, 1):
            np.testing.assert_allclose(result[index], apart[index][value.name][0], rtol=1e-3, atol=1e-3 * scale)
        assert np.abs(result[0] - result[1]).max() > 1e-3 * scale


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_bytes_and_another_seed_other_weights(name: str) -> None:
    first, again, other = (SMALL[name](seed=seed) for seed in (3, 3, 4))
    assert first.SerializeToString() == again.SerializeToString()
    tensors = zip(first.graph.initializer, other.graph.initializer, strict=True)
    same = {a.name for a, b in tensors if a.raw_data == b.raw_data}
    assert not any(tensor.endswith((".weight", ".bias", ".running_mean", ".running_var")) for tensor in same)


def _multiplications(model: onnx.ModelProto) -> int:
    """Of the Conv and Gemm nodes."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {value.name: _dims(value) for value in [*graph.value_info, *graph.output]}
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    return sum(math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]][1:]) for node in nodes)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.graph, "draw", lambda *_: b"")
    model = MODELS[name]()
    parameters, billions = PUBLISHED[name]
    trained = [tensor for tensor in model.graph.initializer if tensor.name.endswith((".weight", ".bias"))]
    assert sum(math.prod(tensor.dims) for tensor in trained) == parameters
    if billions is not None:
        assert _multiplications(model) == pytest.approx(billions * 1e9, rel=0.01)


def test_batch_norms_follow_convolutions_and_carry_plausible_statistics() -> None:
    model = SMALL["resnet50"]()
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    producer = {node.output[0]: node for node in model.graph.node}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert len(norms) == 53
    for node in norms:
        assert producer[node.input[0]].op_type == "Conv"
        assert len(producer[node.input[0]].input) == 2
        assert tensors[node.input[4]].min() > 0
        assert 0 < np.abs(tensors[node.input[3]]).max() < 1


def test_tiny_branchy_stays_under_a_million_multiplications_with_branches_and_a_residual_sum() -> None:
    model = MODELS["tiny_branchy"]()
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Concat") == kinds.count("Add") == 1
    assert _multiplications(model) < 500_000


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("googlenet", {"LRN"}),
        ("shufflenet", {"Split", "Transpose"}),
        ("mobilenet_v2", {"Clip"}),
        ("mobilenet_v3", {"HardSwish", "HardSigmoid", "Mul"}),
        ("efficientnet_b0", {"Sigmoid", "Mul"}),
        ("unet", {"ConvTranspose"}),
        ("tiny_yolo", {"LeakyRelu"}),
        ("ssd", {"Clip", "Transpose", "Softmax"}),
        ("bert", {"Gather", "LayerNormalization", "Erf", "Softmax", "Tanh", "MatMul", "Transpose", "Mul", "Div"}),
        ("vit", {"Gather", "LayerNormalization", "Erf", "Softmax", "Expand", "MatMul", "Transpose", "Mul", "Div"}),
        ("lstm", {"LSTM", "Squeeze", "Gather"}),
    ],
)
def test_model_has_the_nodes_it_is_known_for(name: str, kinds: set[str]) -> None:
    common = {"Conv", "BatchNormalization", "Relu", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm"}
    common |= {"Add", "Concat", "Reshape"}
    assert {node.op_type for node in SMALL[name]().graph.node} - common == kinds


def test_every_column_of_indices_has_a_table_of_its_own() -> None:
    model = SMALL["dlrm"](batch=1)
    base = _inputs(model, seed=0)
    results = [_run(model, base)["output"].item()]
    for column in range(4):
        sparse = base["sparse"].copy()
        sparse[0, column] = (sparse[0, column] + 1) % TABLE_ROWS
        results.append(_run(model, {**base, "sparse": sparse})["output"].item())
    assert len(set(results)) == 5


def test_attention_is_that_of_the_formula() -> None:
    """softmax(q k^T / sqrt(d)) v for each head, in numpy, from the weights of the graph."""
    g = Builder("attention", seed=0)
    model = g.model({"output": attention(g, g.input("input", (2, 5, 12)), heads=3)})
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inputs = _inputs(model, seed=0)

    def dense(x: npt.NDArray[np.float32], layer: int) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = x @ weights[f"dense_{layer}.weight"] + weights[f"dense_{layer}.bias"]
        return result

    query, key, value = (np.split(dense(inputs["input"], layer), 3, axis=-1) for layer in range(3))
    heads = []
    for q, k, v in zip(query, key, value, strict=True):
        scores = np.exp(q @ k.swapaxes(-1, -2) / 2.0)
        heads.append(scores / scores.sum(-1, keepdims=True) @ v)
    expected = dense(np.concatenate(heads, axis=-1), 3)
    np.testing.assert_allclose(_run(model, inputs)["output"], expected, rtol=1e-4, atol=1e-5)


def test_lstm_reads_time_before_batch() -> None:
    model = MODELS["lstm"](batch=2, steps=7, features=5, hidden=8, classes=3)
    assert [_dims(value) for value in (*model.graph.input, *model.graph.output)] == [(7, 2, 5), (2, 3)]
