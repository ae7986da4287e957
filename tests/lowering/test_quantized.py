"""Quantized convolutions and products by bytes, with the results of ONNX Runtime's float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.checking import relative_error
from gacer_tune.ir.workload import Tenant
from gacer_tune.kernels.byte_conv import ByteConv
from gacer_tune.kernels.machine import MACHINES, Machine
from gacer_tune.lowering.lower import LoweredModel
from gacer_tune.lowering.multiples import whole_multiples
from gacer_tune.preparing import machine_here
from tests.support.build import Array, node, run
from tests.support.compiled import build, lowered_alone
from tests.support.kernels import few, seeds
from tests.support.quantized import Net, scale

EMULATED = replace(machine_here(), dots="emulated")
DOTTING = list(dict.fromkeys((EMULATED, machine_here() if machine_here().dots else EMULATED)))
MOST = 2  # variants of a kernel that are compiled


def by_bytes(proto: onnx.ModelProto, machine: Machine = EMULATED) -> tuple[Array, Array, Tenant]:
    """What bytes give, what ONNX Runtime gives, and the tenant."""
    built = build([("net", proto)], 2, machine, most=MOST)
    tenant = built.compiled.workload.tenants[0]
    feeds = {port.name: built.bench.session.port(0, port) for port in tenant.inputs}
    return built.bench.outputs()["0/y"], run(proto, feeds)[0], tenant


def kinds(tenant: Tenant | LoweredModel) -> list[str]:
    return [op.kind for op in tenant.ops]


def stored(proto: onnx.ModelProto) -> list[str]:
    """How the values are stored that kernels of the model write, in order."""
    low = lowered_alone(proto, EMULATED)
    return [kernel.spec.tensors(EMULATED)[-1].dtype for op in low.ops for kernel in op.kernels]


def assert_a_step_apart_at_most(found: Array, expected: Array, step: float) -> None:
    """What is rounded may be rounded to the other side where it lies on the edge."""
    apart = np.abs(found - expected)
    assert apart.max() <= 1.001 * step
    assert np.count_nonzero(apart > step / 2) <= apart.size // 50 + 1


@st.composite
def convolutions(draw: st.DrawFn) -> onnx.ModelProto:
    """Of both types of bytes, whatever stands for 0, with borders and channels that are no whole words."""
    net = Net(draw(st.sampled_from(("uint8", "int8"))), draw(seeds))
    inputs, outputs = draw(st.sampled_from((1, 3, 4, 6, 20))), draw(st.sampled_from((1, 16, 24)))
    size, pad = draw(st.sampled_from((1, 2, 3))), draw(st.integers(0, 2))
    source = net.quantized("x", draw(st.sampled_from((0, 3, 128, 255))))
    if draw(st.booleans()):
        return net.model((1, inputs, 9), net.conv(source, inputs, outputs, size, 1, pads=[pad, 0], strides=[2]))
    made = net.conv(source, inputs, outputs, size, pads=[pad, 0, 0, pad], strides=[1, 2])
    return net.model((1, inputs, 7, 9), made)


@few(10)
@given(convolutions(), st.sampled_from(DOTTING))
def test_convolutions(proto: onnx.ModelProto, machine: Machine) -> None:
    found, expected, tenant = by_bytes(proto, machine)
    assert kinds(tenant).count("byte_conv2d") == 1
    assert relative_error(found, expected) <= 1e-5


@pytest.mark.parametrize("machine", DOTTING, ids=lambda machine: machine.dots)
@pytest.mark.parametrize("zero", [0, 128])
@pytest.mark.parametrize("how", ["MatMul", "Gemm", "Gemm of a turned one"])
def test_products(how: str, zero: int, machine: Machine) -> None:
    net = Net()
    source = net.quantized("x", zero)
    if how == "MatMul":
        made, shape = net.op("MatMul", source, net.weight(24, 20, axis=1)), (2, 3, 24)
    else:
        turned = how != "Gemm"
        weight = net.weight(20, 24) if turned else net.weight(24, 20, axis=1)
        bias = net.constant(net.rng.standard_normal(20).astype(np.float32))
        made, shape = net.op("Gemm", source, weight, bias, transB=int(turned)), (5, 24)
    found, expected, tenant = by_bytes(net.model(shape, made), machine)
    assert kinds(tenant).count("byte_matmul") == 1
    assert relative_error(found, expected) <= 1e-5


@pytest.mark.parametrize("element", ["uint8", "int8"])
def test_a_residual_is_bytes_all_the_way(element: str) -> None:
    """Every value between kernels is bytes, also what is only added; who reads it turns it to float32."""
    net = Net(element)
    first = net.quantized(net.conv(net.quantized("x", 120), 8, 16), 0)
    inside = net.quantized(net.op("Relu", net.conv(first, 16, 16, 3, pads=[1] * 4)), 0, 0.031)
    beside = net.quantized(net.conv(first, 16, 16), 90, 0.047)
    summed = net.op("Add", net.quantized(net.conv(inside, 16, 16), 70, 0.043), beside)
    proto = net.model((1, 8, 6, 6), net.conv(net.quantized(summed, 110, 0.061), 16, 8))
    found, expected, tenant = by_bytes(proto)
    assert kinds(tenant) == ["map", "copy", *["byte_conv2d"] * 5, "copy"]
    assert stored(proto) == ["byte"] * 6 + ["float32"] * 2
    specs = [kernel.spec for op in lowered_alone(proto, EMULATED).ops for kernel in op.kernels]
    made = {step.fn for spec in specs if isinstance(spec, ByteConv) for step in spec.program.steps}
    assert "round" in made and "div" not in made, "a division takes as long as sixteen products"
    assert_a_step_apart_at_most(found, expected, 0.061 * 127 * 0.003)


@pytest.mark.parametrize(("element", "group", "kind"), [("uint8", 16, "depthwise"), ("int8", 4, "conv2d")])
def test_pooling_and_convolutions_of_groups_read_bytes(element: str, group: int, kind: str) -> None:
    net = Net(element)
    source = net.quantized(net.conv(net.quantized("x", 7), 4, 16), 0)
    pooled = net.op("MaxPool", source, kernel_shape=[2, 2], strides=[2, 2])
    same = net.quantized(pooled, 0)
    deep = net.quantized(net.op("Relu", net.conv(same, 16, 16, 3, group=group, pads=[1] * 4)), 0, 0.033)
    proto = net.model((1, 4, 8, 8), net.conv(deep, 16, 8))
    found, expected, tenant = by_bytes(proto)
    assert kinds(tenant) == ["map", "copy", "byte_conv2d", "pool", kind, "byte_conv2d", "copy"]
    assert stored(proto) == ["byte"] * 5 + ["float32"] * 2
    assert_a_step_apart_at_most(found, expected, 0.033 * 127 * 0.003)


def test_who_knows_nothing_of_bytes_gets_float32() -> None:
    """A concatenation, a sigmoid and the model's own output beside a convolution."""
    net = Net("int8")
    source = net.quantized("x", 128)
    made = net.conv(source, 8, 8)
    joined = net.op("Concat", source, net.op("Sigmoid", source), made, axis=1)
    found, expected, tenant = by_bytes(net.model((1, 8, 5, 5), joined))
    assert "byte_conv2d" in kinds(tenant)
    assert relative_error(found, expected) <= 1e-5


def test_a_zero_point_that_is_computed_is_taken_off_the_sums() -> None:
    net = Net()
    bytes_of, size, zero = net.op("Identity", "x"), "size", "zero"
    net.nodes[-1] = node("DynamicQuantizeLinear", ["x"], [bytes_of, size, zero])
    weight = net.constant(net.rng.integers(-127, 128, (24, 20), np.int8))
    whole = net.op("Cast", net.op("MatMulInteger", bytes_of, weight, zero), to=onnx.TensorProto.FLOAT)
    found, expected, tenant = by_bytes(net.model((5, 24), net.op("Mul", whole, size)))
    assert kinds(tenant).count("byte_matmul") == 1
    assert relative_error(found, expected) <= 1e-5


def test_inputs_may_be_bytes() -> None:
    net = Net()
    size, zero = net.constant(scale(0.0213)), net.constant(np.asarray(9, np.uint8))
    made = net.conv(net.op("DequantizeLinear", "x", size, zero), 8, 8, 3, pads=[1] * 4)
    proto = net.model((1, 8, 5, 5), made)
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    found, expected, tenant = by_bytes(proto)
    assert kinds(tenant).count("byte_conv2d") == 1
    assert relative_error(found, expected) <= 1e-5


def test_other_quotients_are_divided() -> None:
    """What is rounded for another purpose may lie on the edge by design: 4.5 / 3 is rounded to 2."""
    net = Net()
    net.conv(net.quantized("x", 0), 8, 8)
    rounded = net.op("Round", net.op("Div", "x", net.constant(np.asarray(3, np.float32))))
    proto = net.model((1, 8, 5, 5), net.op("Add", rounded, net.nodes[-3].output[0]))
    low = lowered_alone(proto, EMULATED)
    assert "byte_conv2d" in kinds(low)
    made = [step.fn for op in low.ops for kernel in op.kernels for step in kernel.spec.program.steps]
    assert made.count("div") == 1


def test_scales_that_add_an_axis_are_left_alone() -> None:
    """What is read has another shape than what is rounded."""
    net = Net()
    one = net.constant(np.full((1, 1, 1), 0.5, np.float32))
    net.op("Mul", net.quantized("x", 0), one)
    proto = net.model((5, 24), net.op("MatMul", "mul2", net.weight(24, 20, axis=1)))
    found, expected, _ = by_bytes(proto)
    assert relative_error(found, expected) <= 1e-5


def test_convolutions_with_the_same_border_share_a_copy() -> None:
    net = Net()
    source = net.quantized("x", 9)
    made = [net.conv(source, 8, 8, 3, pads=[1] * 4) for _ in range(2)]
    found, expected, tenant = by_bytes(net.model((1, 8, 5, 5), net.op("Add", *made)))
    assert (kinds(tenant).count("pad"), kinds(tenant).count("byte_conv2d")) == (1, 2)
    assert relative_error(found, expected) <= 1e-5


def test_other_weights_and_other_processors_stay_float32() -> None:
    """Weights that are no multiples of one number, those of groups, and all where there are no such instructions."""
    net = Net()
    source, free = net.quantized("x", 0), net.constant(net.rng.standard_normal((8, 8, 1, 1)).astype(np.float32))
    made = net.op("Add", net.op("Conv", source, free), net.conv(source, 8, 8, group=2))
    found, expected, tenant = by_bytes(net.model((1, 8, 5, 5), made))
    assert "byte_conv2d" not in kinds(tenant)
    assert relative_error(found, expected) <= 1e-5

    net = Net()
    proto = net.model((1, 8, 5, 5), net.conv(net.quantized("x", 0), 8, 8))
    for machine in (MACHINES["avx512"], MACHINES["avx2"]):
        low = lowered_alone(proto, machine)
        assert not any(isinstance(kernel.spec, ByteConv) for op in low.ops for kernel in op.kernels)


@few(40)
@given(st.integers(1, 128), st.integers(1, 9), st.sampled_from((1, 3, 200)), seeds)
def test_whole_multiples(most: int, rows: int, length: int, seed: int) -> None:
    """Scales are found whatever multiple the largest weight is, up to the rounding of float32, also in steps."""
    rng = np.random.default_rng(seed)
    whole = rng.integers(-most, min(most, 127) + 1, (rows, length))
    whole[0] = 0
    factor, more = rng.uniform(1e-4, 1e-1, (rows, 1)).astype(np.float32), np.float32(1 / 0.37)
    found = whole_multiples(whole.astype(np.float32) * factor * more)
    assert found is not None
    numbers, scales = found
    assert numbers.dtype == np.int8
    np.testing.assert_allclose(numbers * scales[:, None], whole * factor * more, rtol=1e-5)


def test_what_is_no_multiple_is_found_out() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(-127, 128, (4, 300)).astype(np.float32)
    rows[:, 0] = 127
    assert whole_multiples(rows) is not None
    rows[3, 299] += 0.3  # behind what is looked at first
    assert whole_multiples(rows) is None
    assert whole_multiples(np.asarray([[128.0, 1.0], [127.0, -1.0]], np.float32)) is None, "+128 is no byte"
    assert whole_multiples(np.asarray([[-128.0, 1.0]], np.float32)) is not None
