import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import tirx

from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.cuda.emit.function import Function, shared, sync
from gacer_tune.kernels.cuda.emit.source import source_of
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.product import ProductTile
from gacer_tune.kernels.emit import elementwise
from gacer_tune.kernels.encoding import decode, encode
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.rules import Source
from gacer_tune.kernels.tensor import Tensor, dense
from tests.cuda.variants import launch
from tests.support.kernels import Array, Operand, normal, operand

GPU = Gpu()


def run(
    tensors: list[Tensor], operands: list[Operand], body: Callable[[Function, Any], None], blocks: tuple[int, int]
) -> None:
    function = Function("kernel", tensors, 32)
    source = source_of(function.build(lambda block: body(function, block)), GPU)
    launch(source, GPU, operands, *blocks)


def test_a_launch_computes_the_blocks_of_its_range() -> None:
    tensors = [dense((5, 32)), dense((5, 32))]
    source, out = operand(tensors[0], normal(1, (5, 32))), Operand(tensors[1], 7.0)

    def body(function: Function, block: Any) -> None:
        function.store(1, (block, function.thread), function.load(0, (block, function.thread)) * 2.0)

    run(tensors, [source, out], body, (1, 4))
    assert np.array_equal(out.array[1:4], source.array[1:4] * 2)
    assert (out.array[[0, 4]] == 7).all() and out.untouched()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_run_is_widened_computed_and_rounded(dtype: str, stride: int) -> None:
    """One large sum is far from what float16 could hold in between."""
    tensors = [Tensor((32, 8), (8 * stride, stride), dtype), Tensor((32, 8), (0, 1), dtype), dense((32, 8), dtype)]
    values, bias, out = (
        operand(tensors[0], normal(2, (32, 8)) * 100),
        operand(tensors[1], normal(3, (8,))),
        Operand(tensors[2]),
    )
    scaled = Step("mul", (Arg("acc"), Arg("const", value=1000.0)))
    back = Step("mul", (Arg("step", 0), Arg("const", value=0.001)))
    program = Program((scaled, back, Step("add", (Arg("step", 1), Arg("operand", 0)))), (tensors[1],))

    def body(function: Function, block: Any) -> None:
        index = (function.thread, block * 8)
        run_of = function.load_run(0, index, 8)
        function.store_run(2, index, function.finish_run(program, 1, index, run_of))

    run(tensors, [values, bias, out], body, (0, 1))
    thousand, thousandth = np.float32(1000), np.float32(0.001)
    expected = values.array.astype(np.float32) * thousand * thousandth + bias.array.astype(np.float32)
    assert np.array_equal(out.array, expected.astype(dtype))


def test_booleans_and_integers() -> None:
    tensors = [dense((32,), "bool"), dense((32,), "int64"), dense((32,), "int64")]
    flags, numbers = np.arange(32) % 3 == 0, np.arange(32) - 2**40
    operands = [operand(tensors[0], flags), operand(tensors[1], numbers), Operand(tensors[2])]

    def body(function: Function, block: Any) -> None:
        index = (function.thread + block,)
        flag, number = function.load(0, index), function.load(1, index)
        function.store(2, index, elementwise.apply("where", [flag, number, number + 1], "int64"))

    run(tensors, operands, body, (0, 1))
    assert np.array_equal(operands[2].array, np.where(flags, numbers, numbers + 1))


def test_shared_memory_is_seen_by_all_threads_after_a_barrier() -> None:
    tensors = [dense((32,)), dense((32,))]
    source, out = operand(tensors[0], normal(4, (32,))), Operand(tensors[1])

    def body(function: Function, block: Any) -> None:
        from tvm.script.ir_builder import tirx as T

        memory = shared(32)
        T.buffer_store(memory, function.load(0, (function.thread + block,)), [function.thread])
        sync()
        function.store(1, (function.thread,), memory[31 - function.thread])

    run(tensors, [source, out], body, (0, 1))
    assert np.array_equal(out.array, source.array[::-1])


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "erf": np.vectorize(math.erf),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "elu": lambda x: np.where(x < 0, 1.5 * (np.exp(x) - 1), x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "sin": np.sin,
    "cos": np.cos,
}


def test_functions_of_the_library() -> None:
    tensors = [dense((32,)), dense((len(FUNCTIONS), 32))]
    values, out = operand(tensors[0], np.linspace(-9, 9, 32)), Operand(tensors[1])

    def body(function: Function, block: Any) -> None:
        for row, name in enumerate(FUNCTIONS):
            steps = (Step(name, (Arg("acc"),), params=(1.5,) if name == "elu" else ()),)
            value = function.load(0, (function.thread + block,))
            function.store(1, (row, function.thread), function.finish(Program(steps), 2, (0,), value))

    run(tensors, [values, out], body, (0, 1))
    wide = values.array.astype(np.float64)
    for found, expected in zip(out.array, (function(wide) for function in FUNCTIONS.values()), strict=True):
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_blocks_that_are_to_share_a_processor_are_told_to_the_compiler() -> None:
    function = Function("kernel", [dense((32,))], 32)
    function.resident = 4
    source = source_of(function.build(lambda _: function.store(0, (function.thread,), tirx.const(1.0))), GPU)
    assert "__launch_bounds__(32, 4) kernel(" in source
    out = Operand(dense((32,)))
    launch(source, GPU, [out], 0, 1)
    assert (out.array == 1).all()


def test_sources_survive_encoding_and_are_named_by_all_that_matters() -> None:
    spec, tile = Conv2d(dense((1, 4, 4, 8)), dense((1, 4, 4, 8))), ProductTile(32, 32, 16)
    gpus = [Gpu("sm_90"), Gpu("sm_80"), Gpu("sm_90", "tf32")]
    sources = [Source(spec, tile, machine) for machine in gpus]
    sources += [Source(spec, ProductTile(32, 32, 16, 2), gpus[0])]
    assert len({source.name for source in sources}) == len(sources)
    for source in sources:
        assert decode(json.loads(json.dumps(encode(source)))) == source
