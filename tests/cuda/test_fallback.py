"""Operators that no rule knows, on a GPU."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import models
from gacer_tune.kernels.cuda.gpu import Gpu
from tests.cuda.specs import PRECISIONS
from tests.cuda.whole import emulated, lowered
from tests.lowering.fallback_models import NETS, Net, net
from tests.support.build import random_inputs, run

FP32 = Gpu(precision="fp32")


def compare(proto: onnx.ModelProto, gpu: Gpu, tolerance: float) -> set[str]:
    """The kinds of operations that gave what ONNX Runtime gives."""
    feeds = random_inputs(proto)
    model = lowered(proto, gpu)
    found = emulated(model, gpu, feeds)
    for item, wanted in zip(proto.graph.output, run(proto, feeds), strict=True):
        actual = found[item.name]
        assert (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype), item.name
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance, err_msg=item.name)
        else:
            np.testing.assert_array_equal(actual, wanted, err_msg=item.name)
    return {op.kind for op in model.ops}


def few_operators() -> onnx.ModelProto:
    """Loops of every kind: sorting, sums along an axis, indices, booleans, integers, functions of C, several nests."""
    grown = Net(18)
    x, bools = grown.x(3, 4, 5), (TensorProto.BOOL,)
    grown.op("TopK", [x, grown.const(np.array([3]))], (TensorProto.FLOAT, TensorProto.INT64), axis=1)
    grown.op("CumSum", [x, grown.const(np.array(0))])
    grown.op("ArgMax", [x], (TensorProto.INT64,), axis=-1)
    grown.op("ScatterND", [x, grown.const(np.array([[2, 1], [0, -1]])), grown.x(2, 5)])
    grown.op("GatherElements", [x, grown.ints(3, 2, 4, 5)], axis=0)
    grown.op("IsNaN", [x], bools)
    grown.op("Atan", [x])
    grown.op("Mish", [x])
    grown.op("Einsum", [x, grown.x(5, 2)], equation="abc,cd->abd")
    return grown.built()


def test_a_few_operators() -> None:
    for gpu in PRECISIONS:
        kinds = compare(few_operators(), gpu, 2e-5 if gpu == FP32 else 4e-3)
        assert "default" in kinds


@pytest.mark.slow
@pytest.mark.skipif("KERNEL_EXAMPLES" not in os.environ, reason="takes a minute; KERNEL_EXAMPLES=1 asks for it")
@pytest.mark.parametrize("opset", NETS)
def test_all_operators(opset: int) -> None:
    assert "default" in compare(net(opset).built(), FP32, 2e-5)


def test_loops_that_depend_on_each_other_are_one_thread() -> None:
    """A cumulative sum over all elements is a single turn."""
    grown = Net(17)
    grown.op("CumSum", [grown.x(50), grown.const(np.array(0))])
    compare(grown.built(), FP32, 2e-5)


def test_rules_between() -> None:
    """A model of rules only, with branches that meet in one value."""
    assert "default" not in compare(models.MODELS["tiny_branchy"](), Gpu(), 2e-2)
