"""Operators that no rule knows, on a GPU."""

import os
from math import prod

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import models
from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.fallback import StageTile
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.rules import Source, candidates, items
from gacer_tune.lowering.lower import LoweredModel
from tests.cuda.variants import STORING
from tests.cuda.whole import emulated
from tests.lowering.fallback_models import NETS, Net, net
from tests.support.build import random_inputs, run
from tests.support.compiled import lowered_alone

FP32 = Gpu(precision="fp32")


def wrong(proto: onnx.ModelProto, gpu: Gpu, tolerance: float) -> list[str]:
    """Outputs that are not what ONNX Runtime gives: of another shape or type, or further from it than `tolerance`."""
    feeds = random_inputs(proto)
    found = emulated(lowered_alone(proto, gpu), gpu, feeds)
    names = []
    for item, wanted in zip(proto.graph.output, run(proto, feeds), strict=True):
        actual, allowed = found[item.name], tolerance if wanted.dtype.kind == "f" else 0
        alike = (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype)
        if not alike or not np.allclose(actual, wanted, rtol=allowed, atol=allowed, equal_nan=allowed > 0):
            names.append(item.name)
    return names


def kinds(model: LoweredModel) -> set[str]:
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
    for gpu in STORING:
        assert wrong(few_operators(), gpu, 2e-5 if gpu == FP32 else 4e-3) == []
        assert "default" in kinds(lowered_alone(few_operators(), gpu))


@pytest.mark.slow
@pytest.mark.skipif("KERNEL_EXAMPLES" not in os.environ, reason="takes a minute; KERNEL_EXAMPLES=1 asks for it")
@pytest.mark.parametrize("opset", NETS)
def test_all_operators(opset: int) -> None:
    assert wrong(net(opset).built(), FP32, 2e-5) == []
    assert "default" in kinds(lowered_alone(net(opset).built(), FP32))


def test_loops_that_depend_on_each_other_are_one_thread() -> None:
    """A cumulative sum over all elements is a single turn."""
    grown = Net(17)
    grown.op("CumSum", [grown.x(50), grown.const(np.array(0))])
    (kernel,) = [kernel for op in lowered_alone(grown.built(), FP32).ops for kernel in op.kernels]
    (tile,) = candidates(kernel.spec, FP32)
    assert (prod(kernel.spec.loops), tile, items(kernel.spec, tile, FP32)) == (1, StageTile(32), 1)
    assert "threadIdx.x)) < 1) {" in source_of(Source(kernel.spec, tile, FP32).emit("kernel"), FP32)
    assert wrong(grown.built(), FP32, 2e-5) == []


def test_rules_between() -> None:
    """A model of rules only, with branches that meet in one value."""
    made = models.MODELS["tiny_branchy"]()
    assert wrong(made, Gpu(), 2e-2) == []
    assert "default" not in kinds(lowered_alone(made, Gpu()))
