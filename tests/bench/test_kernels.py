"""The roofline, and kernels under it."""

from __future__ import annotations

import io
import json
import os
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from gacer_tune.bench import blas
from gacer_tune.bench.kernels import kernel_rows, products_direct, products_fraction, products_share
from gacer_tune.bench.ort_nodes import by_op
from gacer_tune.bench.others import Usage
from gacer_tune.bench.roofline import Roofline, Turn, lanes_s, measuring, roofline
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import sequential
from gacer_tune.ir.workload import Workload
from tests.cli.support import Cli
from tests.support.build import model, node
from tests.support.compiled import NEEDS_AMX
from tests.support.workloads import chain

if TYPE_CHECKING:
    from gacer_tune.devices.bench import Bench
    from gacer_tune.executor.session import Loaded

ROOF = Roofline(sgemm_flops_s=200e3, copy_nbytes_s=40e3, sgemm_by="numpy", lanes=2)


def test_kernels_are_what_their_slices_add_up_to() -> None:
    """Each kernel of a chain has 1000 operations and moves 128 bytes: arithmetic bounds it."""
    workload = Workload((chain("det", (4, 2)), chain("seg", (6,))))
    slices = list(lower(workload, sequential(workload, 2)).slices())
    assert len(slices) == 6
    seconds = [0.01 * (1 + piece.tenant + piece.kernel) for piece in slices]
    rows = kernel_rows(workload, slices, seconds, ROOF)
    assert [(row.tenant, row.op, row.kernel, row.slices) for row in rows] == [
        ("det", "op1", 1, 2), ("seg", "op0", 0, 2), ("det", "op0", 0, 2)
    ]  # fmt: skip
    assert [row.seconds for row in rows] == pytest.approx([0.04, 0.04, 0.02])
    assert sum(row.share for row in rows) == pytest.approx(1)
    last = rows[-1]
    assert last.computes
    assert last.flops_s == pytest.approx(1000 / 0.02)
    # One of two lanes can do 100 k operations in a second, so 1000 take at least 10 ms.
    assert last.fraction == pytest.approx(0.5)
    assert products_share(rows, ROOF) == pytest.approx(0.3)


def test_memory_bounds_what_computes_little() -> None:
    assert not ROOF.computes(1000, 1000)
    assert ROOF.least_s(1000, 1000) == pytest.approx(2 * 1000 / 40e3)
    assert ROOF.computes(1000, 199)
    assert ROOF.least_s(1000, 199) == pytest.approx(2 * 1000 / 200e3)


def test_products_that_memory_bounds_reach_what_it_allows() -> None:
    """1000 operations and 4000 bytes on one of two lanes: 10 ms of arithmetic, 200 ms of memory."""
    heavy = chain("det", (4,), nbytes=4000)
    workload = Workload((heavy, chain("seg", (4,))))
    slices = list(lower(workload, sequential(workload, 1)).slices())
    for seconds, fraction in ((0.4, (0.5 * 0.4 + 0.5 * 0.02) / 0.42), (0.1, (1.0 * 0.1 + 0.5 * 0.02) / 0.12)):
        rows = kernel_rows(workload, slices, [seconds, 0.02], ROOF)
        assert products_fraction(rows) == pytest.approx(fraction)
        assert products_share(rows, ROOF) == pytest.approx(2 * 2000 / 200e3 / (seconds + 0.02))


def test_operations_that_are_saved_count_as_done() -> None:
    """Two convolutions of 1000 operations, one of which would have 5000 without Winograd's filtering."""
    tenant = chain("det", (4, 4))
    workload = Workload((replace(tenant, ops=(replace(tenant.ops[0], direct=5000), tenant.ops[1])),))
    slices = list(lower(workload, sequential(workload, 1)).slices())
    rows = kernel_rows(workload, slices, [0.02, 0.04], ROOF)
    assert products_share(rows, ROOF) == pytest.approx(2 * 2000 / 200e3 / 0.06)
    assert products_direct(workload, rows, ROOF) == pytest.approx(2 * 6000 / 200e3 / 0.06)
    assert products_direct(workload, [], ROOF) == 0.0


def test_kernels_that_are_no_products_do_not_count() -> None:
    tenant = chain("det", (4,))
    workload = Workload((tenant,))
    slices = list(lower(workload, sequential(workload, 1)).slices())
    rows = kernel_rows(workload, slices, [0.1], ROOF)
    assert products_share(rows, ROOF) > 0
    assert products_share([], ROOF) == products_fraction([]) == 0.0
    assert kernel_rows(workload, slices, [0.0], ROOF) == ()


def test_numpy_on_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "SIDES", (128,))
    monkeypatch.setattr(blas, "COPY_NBYTES", 8 << 20)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before, told = os.sched_getaffinity(0), io.StringIO()
    try:
        blas.answer([min(before)], io.StringIO("\n\n"), told)
        assert os.sched_getaffinity(0) == {min(before)}
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    finally:
        os.sched_setaffinity(0, before)
    answers = [json.loads(line) for line in told.getvalue().splitlines()]
    assert len(answers) == 2
    assert all(answer["sgemm_flops_s"] > 1e8 and answer["copy_nbytes_s"] > 1e8 for answer in answers)


def test_the_median_of_several_runs() -> None:
    count = 0

    def run() -> None:
        nonlocal count
        count += 1
        time.sleep(0.05 if count in (1, 3) else 0)

    assert 0 < blas.median_s(run) < 0.05
    assert count == 1 + blas.RUNS


def test_the_roofline_is_of_the_middle_turn() -> None:
    turns = [Turn(9.0, 5.0, 3.0), Turn(1.0, 6.0, 1.0), Turn(2.0, 7.0, 2.0)]
    assert roofline(turns, 2) == Roofline(6.0, 2.0, "numpy", 2)
    assert roofline(turns[:1], 4) == Roofline(9.0, 3.0, "our kernel", 4)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=NEEDS_AMX)])
def test_the_roofline_of_this_machine(precision: str) -> None:
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with measuring(cpus, precision) as turn:
        found = [turn() for _ in range(2)]
    for one in found:
        assert 1e9 < one.ours_flops_s < 1e13 * len(cpus)
        assert 1e9 < one.numpy_flops_s < 1e13 * len(cpus)
        assert 1e8 < one.copy_nbytes_s < 1e13


def test_the_product_is_timed_while_lanes_work() -> None:
    """Two lanes: one works for 3 s of each run, the other for 1 s, however long they wait for each other."""
    ran: list[object] = []
    plan = SimpleNamespace(worked=lambda: np.array([30, 10]))
    session = SimpleNamespace(cpus=[0, 1], run=ran.append)
    bench = SimpleNamespace(session=session, hertz=10.0)
    assert lanes_s(cast("Bench", bench), cast("Loaded", plan)) == pytest.approx(2)
    assert ran == [plan] * (1 + blas.RUNS)


def test_kernels_of_an_artifact(cli: Cli, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([Turn(5e10, 9e10 + i * 1e9, 2e10) for i in range(21)])
    monkeypatch.setattr("gacer_tune.bench.kernels.measuring", lambda *_: nullcontext(lambda: next(turns)))
    monkeypatch.setattr("gacer_tune.bench.kernels.TURNS", 21)
    monkeypatch.setattr("gacer_tune.bench.kernels.products_direct", lambda *_: 12.5)
    said = cli("inspect", artifact, "--kernels", "--json")
    assert said.code == 0, said.err
    rows = said.last["kernels"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert {row["tenant"] for row in rows} == {"tiny_branchy", "tiny_mlp"}
    assert {"conv2d", "matmul"} <= {row["kind"] for row in rows}
    assert all(row["seconds"] > 0 and row["fraction"] > 0 for row in rows)
    assert [row["seconds"] for row in rows] == sorted((row["seconds"] for row in rows), reverse=True)
    assert 0 < said.last["products_share"] < 10
    assert 0 < said.last["products_fraction"] <= 1
    assert said.last["roofline"]["sgemm_flops_s"] == 1e11
    assert all(0 <= row["variant"] < row["variants"] for row in rows)
    assert {row["footprint"] > 0 for row in rows if row["kind"] in ("conv2d", "matmul")} == {True}
    assert "roofline of 2 lanes: product 100 GFLOP/s (numpy), copy 20.0 GB/s" in said.err
    assert "│ tiny_mlp/" in said.err
    assert "of the product's roofline, weighted by their time, and " in said.err
    assert f"{said.last['products_fraction']:.0%} of what product and copy allow them" in said.err
    assert said.last["products_direct"] == 12.5
    assert "; 1250% with the operations that Winograd's filtering saves" in said.err
    compared = said.last["onnxruntime"]
    assert {row["tenant"] for row in compared} == {"tiny_branchy", "tiny_mlp"}
    assert {"conv2d", "matmul"} <= {row["kind"] for row in compared}
    for row in compared:
        ours = sum(r["seconds"] for r in rows if (r["tenant"], r["op"]) == (row["tenant"], row["op"]))
        assert row["seconds"] == pytest.approx(ours)
        assert row["ratio"] == pytest.approx(row["onnxruntime_s"] / ours)
    assert "of ONNX Runtime: the profiled time of its nodes for the same op, times its 2 threads" in said.err


def test_a_busy_machine_is_told(cli: Cli, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three cores that were busy for ten seconds, one with our work."""
    usages = iter([Usage(0.0, 0.0, 0.0), Usage(10.0, 30.0, 10.0), Usage(20.0, 30.0, 10.0), Usage(30.0, 40.0, 20.0)])
    monkeypatch.setattr(Usage, "now", lambda: next(usages))
    monkeypatch.setattr("gacer_tune.bench.kernels.measuring", lambda *_: nullcontext(lambda: Turn(5e10, 9e10, 2e10)))
    monkeypatch.setattr("gacer_tune.bench.kernels.TURNS", 1)
    monkeypatch.setattr("gacer_tune.cli.kernels.find_spec", lambda _: None)
    busy = cli("inspect", artifact, "--kernels", "--json")
    assert busy.last["others"] == pytest.approx(2.0)
    assert busy.last["products_direct"] == busy.last["products_share"]
    assert "Winograd" not in busy.err, "neither model has such a convolution"
    assert "other processes or guests of the host used 2.0 cores meanwhile" in busy.err
    assert "meanwhile, which" not in cli("inspect", artifact, "--kernels").out


def test_nodes_of_another_runtime_belong_to_ops() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="conv_1"),
        node("Relu", ["a"], ["b"], name="relu_1"),
        node("Conv", ["b", "w"], ["c"], name="conv_10"),
        node("Add", ["c", "b"], ["d"], name="add"),
        node("Relu", ["d"], ["y"], name="relu_10"),
        node("Cos", ["x"], ["z"], name="cos"),
    ]
    graph = model(nodes, {"x": [1, 1, 4, 4]}, ["y", "z"], {"w": np.zeros((1, 1, 1, 1), np.float32)})
    seconds = {
        "relu_1_nchwc": 1.0, "relu_10_nchwc": 2.0, "add/fused": 4.0, "cos": 8.0, "ReorderInput": 16.0, "conv_1": 0.5,
        "c_nchwc": 0.25,  # named after its output
    }  # fmt: skip
    assert by_op(graph, ["conv_1", "conv_10"], seconds) == {"conv_1": 1.5, "conv_10": 6.25}
    assert by_op(graph, [], seconds) == {}


def test_models_have_no_kernels_to_run(cli: Cli, artifact: Path) -> None:
    model = artifact.parent / "tiny_mlp.onnx"
    said = cli("inspect", model, "--kernels")
    assert (said.code, said.err) == (
        2, f"error: --kernels: {model} was given, allowed: one folder that tune has written\n"
    )  # fmt: skip
