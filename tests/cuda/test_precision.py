"""Models from ONNX to outputs on an emulated GPU, against ONNX Runtime in float32; and how precision stores values."""

from __future__ import annotations

import random
from typing import Any, get_args

import numpy as np
import onnx
import pytest

from gacer_tune.checking import TOLERANCES, relative_error
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.kernels.cuda.gpu import Gpu, Precision
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.lowering.context import HALF, narrowed
from gacer_tune.search.streams import one_stream
from tests.cuda.emulated import compiled, session
from tests.support.build import model, node, random_inputs, run
from tests.support.compiled import lowered_alone

RNG = np.random.default_rng(5)


def normal(*shape: int) -> Any:
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def small_cnn() -> onnx.ModelProto:
    """A convolution of an image with three channels, pooling, a residual, a mean, a matrix."""
    return model(
        [
            node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], ["r0"]),
            node("MaxPool", ["r0"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["p", "w1"], ["c1"]),
            node("Add", ["c1", "p"], ["s"]),
            node("GlobalAveragePool", ["s"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "w2", "b2"], ["y"]),
        ],
        {"x": (1, 3, 6, 6)},
        ["y"],
        {"w0": normal(8, 3, 3, 3), "b0": normal(8), "w1": normal(8, 8, 1, 1), "w2": normal(8, 5), "b2": normal(5)},
    )


def attention() -> onnx.ModelProto:
    """Queries, keys and values of four words, softmax, a residual, a layer normalisation."""
    return model(
        [
            node("MatMul", ["x", "q"], ["xq"]),
            node("MatMul", ["x", "k"], ["xk"]),
            node("Transpose", ["xk"], ["xkt"], perm=[0, 2, 1]),
            node("MatMul", ["xq", "xkt"], ["scores"]),
            node("Softmax", ["scores"], ["weights"], axis=-1),
            node("MatMul", ["weights", "x"], ["mixed"]),
            node("Add", ["mixed", "x"], ["sum"]),
            node("LayerNormalization", ["sum", "scale", "bias"], ["y"], axis=-1),
        ],
        {"x": (1, 4, 16)},
        ["y"],
        {"q": normal(16, 16), "k": normal(16, 16), "scale": np.ones(16, np.float32), "bias": normal(16)},
    )


def error(made: onnx.ModelProto, precision: Precision) -> float:
    """The largest one of the sequential plan, whose bits a random schedule on three streams has."""
    ready = compiled({"m": made}, Gpu(precision=precision))
    feeds = random_inputs(made)
    emulated = session(ready, 3, {"m": feeds})
    (tenant,) = ready.workload.tenants
    found = []
    for schedule in (one_stream(ready.workload, 1), random_schedule(ready.workload, 3, random.Random(7))):
        emulated.poison()
        emulated.run(emulated.load(lower(ready.workload, schedule, emulated.memory)))
        found.append([emulated.port(0, port).copy() for port in tenant.outputs])
    for port, ours, again in zip(tenant.outputs, *found, strict=True):
        assert port.dtype == str(ours.dtype) == "float32"
        assert ours.tobytes() == again.tobytes()
    return max(relative_error(ours, expected) for ours, expected in zip(found[0], run(made, feeds), strict=True))


def test_a_small_network_in_float16() -> None:
    assert error(small_cnn(), "fp16") <= TOLERANCES["fp16"]


def test_attention_on_tensor_cores_in_float32() -> None:
    assert error(attention(), "tf32") <= TOLERANCES["tf32"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("make", [small_cnn, attention])
def test_every_precision(make: Any, precision: Precision) -> None:
    assert error(make(), precision) <= TOLERANCES[precision]


def test_float16_is_how_values_are_stored_and_not_what_users_see() -> None:
    low = lowered_alone(small_cnn(), Gpu())
    assert [port.dtype for port in (*low.inputs, *low.outputs)] == ["float32", "float32"]
    assert {str(array.dtype) for array in low.weights.values()} == {"float16"}
    first, last = low.ops[0], low.ops[-1]
    assert (first.kind, last.kind) == ("copy", "copy")
    dtypes = [tuple(t.dtype for t in op.kernels[0].spec.tensors(Gpu())) for op in (first, last)]
    assert dtypes == [("float32", "float16"), ("float16", "float32")]
    inner = {t.dtype for op in low.ops[1:-1] for k in op.kernels for t in k.spec.tensors(Gpu())}
    assert inner == {"float16"}


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_float32_needs_no_casts(precision: Precision) -> None:
    low = lowered_alone(small_cnn(), Gpu(precision=precision))
    tensors = [t for op in low.ops for k in op.kernels for t in k.spec.tensors(Gpu(precision=precision))]
    assert {t.dtype for t in tensors} == {"float32"}
    assert "copy" not in {op.kind for op in low.ops}


def test_images_change_their_order_while_they_are_narrowed() -> None:
    """So that the first convolution reads channels next to each other without a copy of its own."""
    low = lowered_alone(small_cnn(), Gpu())
    conv = low.ops[1].kernels[0].spec
    source, *_ = conv.tensors(Gpu())
    assert source.strides[-1] == 1
    assert [op.kind for op in low.ops].count("copy") == 2


def test_constants_too_large_for_float16_are_the_largest_there_is() -> None:
    found = narrowed(np.array([-1e9, 1e9, 1.5, -np.inf], np.float32), "float16")
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, [-HALF, HALF, 1.5, -np.inf])


def test_a_cpu_still_stores_float32() -> None:
    low = lowered_alone(small_cnn(), MACHINES["avx2"])
    assert {str(array.dtype) for array in low.weights.values()} == {"float32"}


def test_integers_and_what_tvm_computes_keep_their_types() -> None:
    """A node that only TVM knows reads and writes float32: casts stand around it."""
    made = model([node("Relu", ["x"], ["r"]), node("Asinh", ["r"], ["y"])], {"x": (2, 3)}, ["y"])
    low = lowered_alone(made, Gpu())
    stages = [k.spec for op in low.ops for k in op.kernels if op.kind == "default"]
    assert stages
    assert {t.dtype for t in stages[0].tensors(Gpu())} == {"float32"}
