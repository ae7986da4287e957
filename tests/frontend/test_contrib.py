"""ONNX Runtime's own operators are spelt in those of ai.onnx, with its results."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import models
from gacer_tune.errors import UserError
from gacer_tune.frontend.contrib import DOMAIN, OPERATORS, UNMARKED
from gacer_tune.frontend.load import load_model
from tests.support.build import CLOSE, Array, difference, model, node, op_types, random_inputs
from tests.support.compiled import beside_onnxruntime
from tests.support.quantized import CONTRIBUTED

BATCH, ROWS, KEYS, HEADS, DEPTH = 2, 5, 7, 2, 4
WIDE = HEADS * DEPTH
INT32 = onnx.TensorProto.INT32
X = (BATCH, ROWS, WIDE)


def normal(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def contributed(op_type: str, names: list[str], values: dict[str, Any], **changes: Any) -> onnx.ModelProto:
    """values: by name the array of a constant, or the shape of an input. changes: opset, outputs, types, attributes."""
    given = {name: value for name, value in values.items() if isinstance(value, tuple)}
    constants = {name: value for name, value in values.items() if not isinstance(value, tuple)}
    options = {"opset": changes.pop("opset", 17), "types": changes.pop("types", {})}
    outputs = changes.pop("outputs", ["y"])
    made = node(op_type, names, outputs, domain="" if op_type in UNMARKED else DOMAIN, **changes)
    built = model([made], given, [name for name in outputs if name], constants, **options)
    built.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return built


def spelt(built: onnx.ModelProto, folder: Path, **options: Any) -> onnx.ModelProto:
    onnx.save(built, str(folder / "m.onnx"))
    return load_model(folder / "m.onnx", **options)


def activation(op_type: str, *bias: str, **attributes: Any) -> onnx.ModelProto:
    return contributed(op_type, ["x", *bias], {"x": X, **dict.fromkeys(bias, normal(WIDE))}, **attributes)


def product(**attributes: Any) -> onnx.ModelProto:
    a = (3, WIDE, ROWS) if attributes.get("transA") else (3, ROWS, WIDE)
    b = (3, 6, WIDE) if attributes.get("transB") else (3, WIDE, 6)
    return contributed("FusedMatMul", ["a", "b"], {"a": a, "b": b}, **attributes)


def conv(activation: str, inputs: tuple[str, ...] = ("x", "w", "b"), **attributes: Any) -> onnx.ModelProto:
    values = {"x": (1, 3, 6, 6), "w": normal(4, 3, 3, 3), "b": normal(4), "z": (1, 4, 6, 6)}
    names = {name: value for name, value in values.items() if name in inputs}
    attributes |= {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    return contributed("FusedConv", list(inputs), names, activation=activation, **attributes)


def norm(op_type: str, names: list[str], **changes: Any) -> onnx.ModelProto:
    known = {"x": X, "skip": X, **{name: normal(WIDE) for name in ("scale", "shift", "bias")}}
    return contributed(op_type, names, {name: known[name] for name in names if name}, **changes)


def embedded(*, mask: bool = False, segments: bool = True, places: bool = False, **changes: Any) -> onnx.ModelProto:
    ids = (BATCH, ROWS)
    names = ["ids", "segments" if segments else "", "words", "positions", "table" if segments else "", "scale", "shift"]
    names += ["mask" if mask else "", "places" if places else ""]
    known = {"ids": ids, "segments": ids, "mask": ids, "places": ids, "scale": normal(WIDE), "shift": normal(WIDE)}
    known |= {"words": normal(11, WIDE), "positions": normal(9, WIDE), "table": normal(2, WIDE)}
    types = dict.fromkeys(("ids", "segments", "mask", "places"), INT32) | {"lengths": INT32}
    values = {name: known[name] for name in names if name}
    return contributed("EmbedLayerNormalization", names, values, types=types, **changes)


def packed(mask: tuple[int, ...] = (), past: bool = False, **changes: Any) -> onnx.ModelProto:
    weights, known = normal(6, 3 * WIDE), {"x": (BATCH, ROWS, 6), "b": normal(3 * WIDE), "m": mask}
    known |= {"w": weights, "past": (2, BATCH, HEADS, 3, DEPTH), "added": (1, HEADS, ROWS, ROWS + 3 * past)}
    names = ["x", "w", "b", "m" if mask else "", "past" if past else "", "added" if changes.pop("added", 0) else ""]
    if past:
        changes["outputs"] = ["y", "present"]
    values = {name: known[name] for name in names if name}
    return contributed("Attention", names, values, num_heads=HEADS, types={"m": INT32}, **changes)


def heads(mask: tuple[int, ...] = (), past: bool = False, **changes: Any) -> onnx.ModelProto:
    keys = ROWS if changes.get("unidirectional") else KEYS  # other lengths ONNX Runtime does not mean
    known: dict[str, Any] = {"q": X, "k": (BATCH, keys, WIDE), "v": (BATCH, keys, 3 * HEADS), "m": mask}
    if past:
        known["v"] = known["k"]
    if changes.pop("turned", 0):
        known |= {"k": (BATCH, HEADS, keys, DEPTH), "v": (BATCH, HEADS, keys, DEPTH)}
    known |= {"b": normal(2 * WIDE + 3 * HEADS), "added": (BATCH, 1, ROWS, keys + 3 * past)}
    known |= {"pk": (BATCH, HEADS, 3, DEPTH), "pv": (BATCH, HEADS, 3, DEPTH)}
    names = ["q", "k", "v", "b" if changes.pop("bias", 0) else "", "m" if mask else ""]
    names += ["added" if changes.pop("added", 0) else "", *(["pk", "pv"] if past else [])]
    values = {name: known[name] for name in names if name}
    return contributed("MultiHeadAttention", names, values, num_heads=HEADS, types={"m": INT32}, **changes)


def gemm(activation: str, **attributes: Any) -> onnx.ModelProto:
    values = {"a": (4, ROWS), "b": normal(6, 4), "c": normal(6)}
    attributes |= {"activation": activation, "transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}
    return contributed("FusedGemm", ["a", "b", "c"], values, **attributes)


MODELS: dict[str, onnx.ModelProto] = {
    "gelu": activation("Gelu"),
    "bias gelu": activation("BiasGelu", "bias"),
    "fast gelu": activation("FastGelu"),
    "fast gelu with bias": activation("FastGelu", "bias"),
    "quick gelu": activation("QuickGelu"),
    "quick gelu with alpha": activation("QuickGelu", alpha=0.7),
    "product": product(alpha=0.3),
    "product of transposed": product(transA=1, transB=1),
    "product of transposed constant": contributed(
        "FusedMatMul", ["x", "w"], {"x": X, "w": normal(6, WIDE)}, transB=1, opset=13
    ),
    "older product": contributed("TransposeMatMul", ["x", "w"], {"x": X, "w": normal(WIDE, 6)}),
    "conv": conv("Relu"),
    "older conv": conv("Clip", activation_params=[-0.5, 0.6], opset=9),
    "conv with clip": conv("Clip", activation_params=[-0.5, 0.6]),
    "conv with leaky relu": conv("LeakyRelu", ("x", "w"), activation_params=[0.3]),
    "conv with sum": conv("HardSigmoid", ("x", "w", "b", "z"), activation_params=[0.3, 0.4]),
    "conv with tanh": conv("Tanh", ("x", "w", "", "z")),
    "gemm": gemm("LeakyRelu", activation_alpha=0.2),
    "skip": norm("SkipLayerNormalization", ["x", "skip", "scale", "shift"], epsilon=0.01),
    "skip with bias": norm(
        "SkipLayerNormalization", ["x", "skip", "scale", "", "bias"], outputs=["y", "", "", "total"], opset=20
    ),
    "simplified skip": norm("SkipSimplifiedLayerNormalization", ["x", "skip", "scale"]),
    "simplified skip with bias": norm(
        "SkipSimplifiedLayerNormalization", ["x", "skip", "scale", "bias"], outputs=["y", "", "", "total"]
    ),
    "simplified": norm("SimplifiedLayerNormalization", ["x", "scale"], axis=-1, epsilon=0.01),
    "older layer norm": norm("LayerNormalization", ["x", "scale", "shift"], axis=-1, opset=13),
    "older layer norm over two axes": contributed(
        "LayerNormalization", ["x", "scale"], {"x": X, "scale": normal(ROWS, WIDE)}, axis=1, opset=13
    ),
    "embedding": embedded(outputs=["y", ""]),
    "embedding with mask": embedded(mask=True, outputs=["y", "lengths"], opset=12),
    "embedding of places": embedded(segments=False, places=True, outputs=["y", "", "total"], epsilon=0.01),
    "packed attention": packed(),
    "packed attention of lengths": packed((BATCH,), added=1),
    "packed attention with mask": packed((BATCH, ROWS), opset=12),
    "packed attention with full mask": packed((BATCH, ROWS, ROWS), mask_filter_value=-5.0),
    "packed attention of the past": packed((BATCH, ROWS + 3), past=True, unidirectional=1),
    "packed attention ahead": packed(unidirectional=1, scale=0.7),
    "packed attention of other widths": contributed(
        "Attention",
        ["x", "w", "b"],
        {"x": X, "w": normal(WIDE, 2 * WIDE + 6), "b": normal(2 * WIDE + 6)},
        num_heads=HEADS,
        qkv_hidden_sizes=[WIDE, WIDE, 6],
    ),
    "attention": heads(),
    "attention with bias": heads(bias=1, added=1, scale=0.4),
    "attention with mask": heads((BATCH, KEYS), bias=1),
    "attention with full mask": heads((BATCH, ROWS, KEYS)),
    "attention of lengths": heads((BATCH,)),
    "attention ahead": heads(unidirectional=1),
    "attention of the past": heads(past=True, added=1, unidirectional=1, outputs=["y", "keys", "values"]),
    "attention of turned": heads(turned=1),
}


@pytest.mark.parametrize("name", MODELS)
def test_results_are_those_of_onnxruntime(name: str, tmp_path: Path) -> None:
    built = MODELS[name]
    simple = spelt(built, tmp_path)
    assert all(item.domain in ("", "gacer") for item in simple.graph.node)
    feeds = random_inputs(built) | {"m": np.ones(0, np.int32)}
    mask = next((item for item in built.graph.input if item.name == "m"), None)
    if mask is None:
        del feeds["m"]
    else:
        shape = [dim.dim_value for dim in mask.type.tensor_type.shape.dim]
        feeds["m"] = np.random.default_rng(1).integers(*((1, ROWS) if len(shape) == 1 else (0, 2)), shape, np.int32)
    assert difference(built, simple, feeds) <= CLOSE


def test_a_product_keeps_its_name(tmp_path: Path) -> None:
    for built, op_type in ((product(alpha=0.3), "MatMul"), (conv("Relu"), "Conv")):
        simple = spelt(built, tmp_path)
        assert [item.name for item in simple.graph.node if item.op_type == op_type] == ["n_y"]


def test_each_operator_is_tested() -> None:
    tested = {built.graph.node[0].op_type for built in (*MODELS.values(), *CONTRIBUTED.values())}
    assert tested == OPERATORS.keys() | UNMARKED.keys()


def test_the_page_names_each_operator() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
    assert [op_type for op_type in (*OPERATORS, *UNMARKED) if not re.search(rf"\| .*\b{op_type}\b.* \|", page)] == []


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (activation("BiasGelu"), "(com.microsoft.BiasGelu): its input 2 is missing"),
        (activation("Gelu", "bias"), "(com.microsoft.Gelu): its input 2, 'bias', is not supported"),
        (activation("Gelu", alpha=0.5), "(com.microsoft.Gelu): the attribute alpha is not supported"),
        (activation("QuickGelu", alpha=1), "attribute alpha is int"),
        (norm("SkipLayerNormalization", ["x", "skip", "scale"], outputs=["y", "mean"]), "its output 2, 'mean', is not"),
        (conv("Elu"), "activation 'Elu' is not supported, only Clip, HardSigmoid, LeakyRelu, Relu, Sigmoid, Tanh"),
        (conv("LeakyRelu", activation_params=[1.0, 2.0]), "2 parameters for LeakyRelu, which has 1"),
        (product(transBatchA=1), "transBatchA is not supported, only transA"),
        (product(transA=1, opset=11), "transA needs operator set 12 or later"),
        (packed(do_rotary=1), "do_rotary is not supported"),
        (packed((BATCH, 1, ROWS, ROWS)), "a mask of 4 dimensions is not supported, only of 1 to 3"),
        (norm("LayerNormalization", ["x", "scale"], axis=1, opset=13), "axis 1 and a scale of 1 dimensions do not fit"),
        (norm("SimplifiedLayerNormalization", ["x", "scale"], stash_type=10), "only stash_type 1 is supported"),
        (embedded(outputs=["y", "lengths"]), "its output 2, 'lengths', is not supported"),
        (activation("NhwcConv"), "only ai.onnx and some of com.microsoft: com.microsoft: n_y (NhwcConv)"),
    ],
)
def test_what_is_refused_is_named(built: onnx.ModelProto, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        spelt(built, tmp_path)
    assert "m.onnx: " in str(caught.value)
    assert "n_y" in str(caught.value)
    assert words in str(caught.value)


def encoder(masked: bool) -> onnx.ModelProto:
    """A layer of BERT as ONNX Runtime's optimizer leaves it, batch and length open."""
    names = ["ids", "segments", "words", "positions", "table", "scale", "shift"]
    lengths = "lengths" if masked else ""
    nodes = [
        node("EmbedLayerNormalization", [*names, "mask"], ["e", lengths], domain=DOMAIN),
        node("Attention", ["e", "w", "b", lengths], ["a"], domain=DOMAIN, num_heads=HEADS),
        node("SkipLayerNormalization", ["a", "e", "scale", "shift"], ["s"], domain=DOMAIN),
        node("MatMul", ["s", "up"], ["u"]),
        node("BiasGelu", ["u", "wider"], ["g"], domain=DOMAIN),
        node("MatMul", ["g", "down"], ["d"]),
        node("SkipLayerNormalization", ["d", "s", "scale", "shift", "bias"], ["y"], domain=DOMAIN),
    ]
    constants = {"words": normal(11, WIDE), "positions": normal(16, WIDE), "table": normal(2, WIDE)}
    constants |= {
        "w": normal(WIDE, 3 * WIDE),
        "b": normal(3 * WIDE),
        "up": normal(WIDE, 32),
        "down": normal(32, WIDE),
    }
    constants |= {"wider": normal(32), **{name: normal(WIDE) for name in ("scale", "shift", "bias")}}
    given = ("ids", "segments", "mask")
    built = model(nodes, dict.fromkeys(given, ("n", "t")), ["y"], constants, types=dict.fromkeys(given, INT32))
    built.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return built


def test_shapes_may_be_open(tmp_path: Path) -> None:
    built = encoder(masked=True)
    simple = spelt(built, tmp_path, shapes={"ids": (3, 6)})
    found = op_types(simple)
    assert (found.count("gacer.LayerNorm"), found.count("gacer.Gelu"), found.count("Softmax")) == (3, 1, 1)
    assert not {"Shape", "Range", "Sqrt", "Erf"} & set(found)
    feeds = random_inputs(simple)
    assert difference(built, simple, feeds) <= CLOSE


def test_whole_path() -> None:
    """The kernels are those of any other encoder. No mask: where one hides all, rounding shows."""
    built = encoder(masked=False)
    for item in built.graph.input:
        for dim, extent in zip(item.type.tensor_type.shape.dim, (2, 6), strict=True):
            dim.dim_value = extent
    found, expected, tenant = beside_onnxruntime([built], most=1)[0]
    assert [op.kind for op in tenant.ops].count("attention") == 1
    assert [op.kind for op in tenant.ops].count("layer_norm") == 3
    assert np.abs(found - expected).max() <= CLOSE


@pytest.mark.parametrize("name", ["tiny_branchy", "tiny_attention", "tiny_mlp"])
def test_what_onnxruntime_saves_can_be_read(name: str, tmp_path: Path) -> None:
    built = models.MODELS[name]()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "saved.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(built.SerializeToString(), options, providers=["CPUExecutionProvider"])
    saved = onnx.load(options.optimized_model_filepath)
    assert DOMAIN in {item.domain for item in saved.graph.node}
    assert difference(built, spelt(saved, tmp_path), random_inputs(built)) <= CLOSE
