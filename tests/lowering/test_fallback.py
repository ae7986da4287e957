"""Operators that no rule knows give what ONNX Runtime gives, whole and in slices; the others are all named at once."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from gacer_tune import inputs
from gacer_tune.errors import UserError
from gacer_tune.executor import threads
from gacer_tune.frontend.load import load_model
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.kernels import fallback
from gacer_tune.kernels.encoding import decode, encode
from gacer_tune.kernels.fallback import Stage
from gacer_tune.kernels.machine import MACHINES
from gacer_tune.kernels.rules import Source
from gacer_tune.kernels.tensor import dense
from gacer_tune.lowering.fallback import TRUSTED
from gacer_tune.lowering.lower import LoweredModel, lower_model
from tests.lowering.fallback_models import NETS, Net, net
from tests.support.build import model, node, run
from tests.support.compiled import Built, build
from tests.support.kernels import Operand, call, compiled, few, machines, operand, seeds

Array = Any
LANES = min(2, len(threads.allowed_cpus()))
MACHINE, HERE = MACHINES["avx2"], machines()[0]


def lowered(proto: onnx.ModelProto, folder: Path) -> LoweredModel:
    path = folder / "model.onnx"
    onnx.save(proto, str(path))
    return lower_model(load_model(path), MACHINE, {})


def compare(proto: onnx.ModelProto, built: Built) -> None:
    expected = run(proto, inputs.sample(built.compiled.workload.tenants[0], 0))
    found = built.bench.outputs()
    names = [item.name for item in proto.graph.output]
    assert list(found) == [f"0/{name}" for name in names]
    for name, wanted, actual in zip(names, expected, found.values(), strict=True):
        assert (actual.shape, actual.dtype) == (wanted.shape, wanted.dtype), name
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(actual, wanted, err_msg=name)


@pytest.mark.parametrize("opset", NETS)
def test_same_as_onnxruntime(opset: int) -> None:
    built = build([("net", net(opset).built())], LANES)
    compare(net(opset).built(), built)
    named = {op.name for op in built.compiled.workload.tenants[0].ops if op.kind == "default"}
    assert named >= set(net(opset).tested)


def test_every_trusted_operator_is_tested() -> None:
    tested = {item.op_type for opset in NETS for item in net(opset).nodes if item.name in net(opset).tested}
    spelt = {"LayerNormalization": "gacer.LayerNorm"}
    assert {spelt.get(op_type, op_type) for op_type in tested} == TRUSTED


@pytest.fixture(scope="module")
def large() -> Built:
    """Operators that are worth cutting, on as many lanes as there are (at most 2)."""
    grown = Net(17)
    x = grown.x(12, 64, 24)
    grown.op("CumSum", [x, grown.const(np.array(1))])
    grown.op("TopK", [x, grown.const(np.array([5]))], (TensorProto.FLOAT, TensorProto.INT64), axis=1)
    grown.op("ReduceLogSumExp", [x], axes=[2])
    grown.op("Sinh", [x])
    grown.op("Einsum", [grown.ints(9, 12, 64), grown.ints(9, 64, 40)], (TensorProto.INT64,), equation="bc,cd->bd")
    grown.op("ScatterND", [x, grown.ints(2, 3, 2), grown.x(3, 24)])
    return build([("large", grown.built())], LANES)


def test_any_schedule_gives_the_same_bits(large: Built) -> None:
    rng, workload = random.Random(5), large.compiled.workload
    cut = [kernel for op in workload.tenants[0].ops if op.kind == "default" for kernel in op.kernels]
    assert sum(kernel.variants[-1].items > 16 for kernel in cut) >= 5
    for _ in range(60):
        schedule = random_schedule(workload, len(large.bench.session.cpus), rng)
        assert large.bench.digest(large.bench.load(schedule)) == large.bench.expected, schedule


def test_every_slice_gives_the_bits_of_the_whole(large: Built) -> None:
    """Each kernel of a default op, cut into single items and called in any order."""
    specs = {source.spec for source in large.compiled.sources.values() if isinstance(source.spec, Stage)}
    assert len(specs) >= 7
    rng = np.random.default_rng(0)
    for spec in sorted(specs, key=repr):
        reads = [operand(tensor, rng.integers(0, 2, tensor.shape)) for tensor in spec.reads]
        found = set()
        for tile in fallback.candidates(spec, MACHINE):
            items = fallback.items(spec, tile, MACHINE)
            kernel = compiled(Source(spec, tile, HERE).emit("kernel"), HERE, "kernel")
            for starts in (range(0, items, items), rng.permutation(items), range(0, items, 3)):
                writes = [Operand(tensor, np.nan) for tensor in spec.writes]
                step = items if len(starts) == 1 else 3 if isinstance(starts, range) else 1
                for lo in starts:
                    call(kernel, [*reads, *writes], int(lo), min(items, int(lo) + step))
                assert all(one.untouched() for one in writes)
                found.add(b"".join(one.array.tobytes() for one in writes))
        assert len(found) == 1


@given(st.lists(st.integers(1, 9), max_size=5), st.integers(0, 10**6))
def test_items_cover_the_loops(loops: list[int], flops: int) -> None:
    spec = Stage("", 0, (), (dense((1,)),), tuple(loops), flops)
    tiles = fallback.candidates(spec, MACHINE)
    assert tiles
    for tile in tiles:
        turns, items = prod(loops[: tile.axes]), fallback.items(spec, tile, MACHINE)
        assert (items - 1) * tile.rows < turns <= items * tile.rows
        assert items <= max(1, flops // fallback.SMALLEST)


@few(4)
@given(st.integers(1, 40), st.data(), st.booleans(), st.sampled_from(("float32", "int64", "uint8")), seeds)
def test_topk_is_stable(extent: int, data: st.DataObject, largest: bool, dtype: str, seed: int) -> None:
    """Of equal elements the first comes first, for all k and for rows of many equal elements."""
    from gacer_tune.kernels.emit.imported import imported

    k, rows = data.draw(st.integers(1, extent)), 50
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [helper.make_node("TopK", ["x", "k"], ["v", "i"], axis=1, largest=int(largest))],
        "topk",
        [helper.make_tensor_value_info("x", element, (rows, extent))],
        [helper.make_tensor_value_info("v", element, (rows, k)), helper.make_tensor_value_info("i", 7, (rows, k))],
        [numpy_helper.from_array(np.array([k]), "k")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    text = base64.b64encode(proto.SerializeToString()).decode()
    nest = imported(text).nests[0]
    types = (dense((rows, extent), dtype),), (dense((rows, k), dtype), dense((rows, k), "int64"))
    spec = Stage(text, 0, *types, nest.loops, 10**6)
    tile = fallback.candidates(spec, HERE)[0]
    values = np.random.default_rng(seed).integers(0, 6, (rows, extent)).astype(dtype)
    results = [Operand(tensor, np.nan) for tensor in spec.writes]
    kernel = compiled(Source(spec, tile, HERE).emit("kernel"), HERE, "kernel")
    call(kernel, [operand(spec.reads[0], values), *results], 0, fallback.items(spec, tile, HERE))
    signed = values.astype(np.int64) * (-1 if largest else 1)
    order = np.argsort(signed, axis=1, kind="stable")[:, :k]
    assert np.array_equal(results[1].array, order)
    assert np.array_equal(results[0].array, np.take_along_axis(values, order, 1))


def test_indices_out_of_range_stay_inside() -> None:
    """They mean the nearest place there is; nothing else is read or written."""
    places = {"x": [2, 4], "i": [2, 3], "u": [2, 3]}
    nodes = [
        node("GatherElements", ["x", "i"], ["taken"], axis=1),
        node("ScatterElements", ["x", "i", "u"], ["put"], axis=1),
    ]
    types = {"i": TensorProto.INT64}
    built = build([("wild", model(nodes, places, ["taken", "put"], types=types))], LANES)
    ports = {port.name: built.bench.session.port(0, port) for port in built.compiled.workload.tenants[0].inputs}
    ports["i"][...] = [[-(2**62), 2**62, 1], [10**9, -4, -5]]
    found = built.bench.outputs()
    inside = np.clip(ports["i"], -4, 3) % 4
    assert np.array_equal(found["0/taken"], np.take_along_axis(ports["x"], inside, 1))
    expected = ports["x"].copy()
    for column in range(3):
        expected[[0, 1], inside[:, column]] = ports["u"][:, column]
    assert np.array_equal(found["0/put"], expected)


def two_sums(name: str) -> onnx.ModelProto:
    nodes = [node("CumSum", ["x", "axis"], ["a"], name=f"{name}_1"), node("Relu", ["a"], ["b"])]
    nodes.append(node("CumSum", ["b", "axis"], ["y"], name=f"{name}_2"))
    return model(nodes, {"x": [3, 4]}, ["y"], {"axis": np.array(1)})


def test_equal_nodes_share_their_functions(tmp_path: Path) -> None:
    specs = [
        kernel.spec for name in ("p", "q") for op in lowered(two_sums(name), tmp_path).ops for kernel in op.kernels
    ]
    stages = [spec for spec in specs if isinstance(spec, Stage)]
    assert len(stages) == 4
    assert len({Source(spec, fallback.candidates(spec, MACHINE)[0], MACHINE).name for spec in stages}) == 1


def test_another_process_emits_the_same_functions(tmp_path: Path) -> None:
    """What a compiling process gets says all it needs, and its import finds the nests in the same order."""
    found = lowered(net(24).built(), tmp_path)
    stages = {kernel.spec for op in found.ops for kernel in op.kernels if isinstance(kernel.spec, Stage)}
    sources = [Source(spec, fallback.candidates(spec, MACHINE)[0], MACHINE) for spec in sorted(stages, key=repr)][:12]
    lines = [json.dumps(encode(source)) for source in sources]
    assert [decode(json.loads(line)) for line in lines] == sources
    code = (
        "import json, sys\n"
        "from gacer_tune.kernels.encoding import decode\n"
        "for line in sys.stdin: print(json.dumps(str(decode(json.loads(line)).emit('kernel'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [str(source.emit("kernel")) for source in sources]


def test_tvm_is_imported_only_when_a_model_needs_it(tmp_path: Path) -> None:
    """Not even for the error of a model with operators that TVM would not know either."""
    for name, nodes in (("known", [node("Relu", ["x"], ["y"])]), ("unknown", [node("Det", ["x"], ["y"])])):
        onnx.save(model(nodes, {"x": [3, 3]}, ["y"]), str(tmp_path / f"{name}.onnx"))
    code = (
        "import sys; from pathlib import Path\n"
        "from gacer_tune.errors import UserError; from gacer_tune.frontend.load import load_model\n"
        "from gacer_tune.kernels.machine import MACHINES; from gacer_tune.lowering.lower import lower_model\n"
        "for name in sys.argv[1:]:\n"
        "    try: lower_model(load_model(Path(name)), MACHINES['avx2'], {})\n"
        "    except UserError as error: print(error)\n"
        "print('tvm' in sys.modules)"
    )
    files = [str(tmp_path / f"{name}.onnx") for name in ("known", "unknown")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert done.stdout == "unsupported operators: Det: n_y\nFalse\n"


def test_one_error_names_all(tmp_path: Path) -> None:
    """Unknown operators, forms that TVM gets wrong, subgraphs, types without kernels; not those that work."""
    branch = helper.make_graph(
        [node("Neg", ["x"], ["n"])], "branch", [], [helper.make_tensor_value_info("n", 1, [3, 3])]
    )
    nodes = [
        node("CumSum", ["x", "axis"], ["a"]),
        node("Det", ["x"], ["b"]),
        node("Det", ["x"], ["c"]),
        node("IsInf", ["x"], ["d"], detect_negative=0),
        node("IsInf", ["x"], ["e"]),
        node("If", ["yes"], ["f"], then_branch=branch, else_branch=branch),
        node("Cast", ["x"], ["g"], to=TensorProto.UINT32),
        node("BitShift", ["g", "g"], ["h"], direction="LEFT"),
        node("LpNormalization", ["x"], ["i"]),
    ]
    types = {"yes": TensorProto.BOOL, "d": TensorProto.BOOL, "e": TensorProto.BOOL, "h": TensorProto.UINT32}
    proto = model(
        nodes, {"x": [3, 3], "yes": []}, ["a", "b", "c", "d", "e", "f", "h", "i"], {"axis": np.array(1)}, types=types
    )
    with pytest.raises(UserError) as caught:
        lowered(proto, tmp_path)
    assert str(caught.value) == "unsupported operators: BitShift: n_h; Det: n_b, n_c; If: n_f; IsInf: n_d"


@pytest.mark.parametrize("op_type", ["NonZero", "Unique", "Compress"])
def test_shapes_that_depend_on_the_data_are_refused(op_type: str, tmp_path: Path) -> None:
    names = ["x", "keep"] if op_type == "Compress" else ["x"]
    types = {"keep": TensorProto.BOOL, "y": TensorProto.INT64 if op_type == "NonZero" else TensorProto.FLOAT}
    shapes = {"x": [5], "keep": [5]} if op_type == "Compress" else {"x": [5]}
    with pytest.raises(UserError, match=f"n_y.*{op_type}|{op_type}: n_y"):
        lowered(model([node(op_type, names, ["y"])], shapes, ["y"], types=types), tmp_path)


def test_the_rule_explains_what_tvm_cannot_do_either(tmp_path: Path) -> None:
    pooled = node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2, 2])
    proto = model([pooled], {"x": [1, 2, 4, 4]}, ["y", "places"], types={"places": TensorProto.INT64})
    with pytest.raises(UserError, match=r"^n_y: MaxPool with indices is not supported$"):
        lowered(proto, tmp_path)
