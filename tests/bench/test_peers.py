"""The runtimes themselves, on tiny models."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest

from gacer_tune.bench import ort, peers
from gacer_tune.bench.compare import on_cpus, ours, task_of
from gacer_tune.bench.originals import paths, static_model
from gacer_tune.bench.rounds import silent
from gacer_tune.bench.system import RefusedError, Task
from gacer_tune.checking import relative_error
from gacer_tune.errors import UserError
from gacer_tune.runtime import Module, load


@pytest.fixture(scope="module")
def module(artifact: Path) -> Module:
    return load(artifact)


@pytest.fixture(scope="module")
def task(module: Module) -> Task:
    recorded = module.artifact.manifest["tenants"]
    return task_of(module, paths([], module.tenants, recorded), 0)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "tvm"])
def test_every_mode_of_a_peer_agrees_with_us(name: str, module: Module, task: Task) -> None:
    pytest.importorskip(name)
    expected = ours(module, task)[0].run()
    with ExitStack() as stack:
        systems, refused = peers.opened([name], task, stack, silent)
        assert not refused
        modes = {system.name.removeprefix(f"{name} ") for system in systems}
        assert any(mode.startswith("sequential") for mode in modes)
        assert any(mode.startswith("parallel") for mode in modes)
        for system in systems:
            for _ in range(2):
                found = system.run()
            assert list(found) == module.tenants
            for tenant, row in expected.items():
                assert set(found[tenant]) == set(row)
                assert all(relative_error(array, found[tenant][output]) < 1e-5 for output, array in row.items())


def test_one_model_has_no_parallel_mode(task: Task) -> None:
    name = next(iter(task.models))
    single = Task({name: task.models[name]}, task.inputs, task.outputs, task.cpus)
    with ExitStack() as stack:
        assert [system.name for system in ort.systems(single, stack)] == [
            "onnxruntime sequential", "onnxruntime sequential, spinning in runs only"
        ]  # fmt: skip


def test_our_two_lines_run_two_schedules(module: Module, task: Task) -> None:
    best, sequential = ours(module, task)
    one, other = best.run(), sequential.run()
    assert (best.name, sequential.name) == ("ours", "ours sequential")
    for tenant, row in one.items():
        for output, array in row.items():
            np.testing.assert_array_equal(array, other[tenant][output])


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "tvm"])
def test_a_model_that_a_peer_cannot_load_is_a_message(name: str, task: Task) -> None:
    pytest.importorskip(name)
    tenant = next(iter(task.models))
    broken = Task({tenant: b"\x08\x08 nothing"}, task.inputs, task.outputs, task.cpus)
    with ExitStack() as stack, pytest.raises(UserError) as refused:
        peers.opened([name], broken, stack, silent)
    assert str(refused.value).startswith(f"{name} cannot run {tenant}: ")
    assert "\n" not in str(refused.value)


def test_the_others_go_on_without_a_peer_that_refuses(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RefusedError("det: no such operator")

    real = peers._opener
    monkeypatch.setattr(peers, "_opener", lambda name: refuse if name == "openvino" else real(name))
    with ExitStack() as stack:
        systems, refused = peers.opened(["openvino", "onnxruntime"], task, stack, silent)
    assert refused == {"openvino": "det: no such operator"}
    assert {system.peer for system in systems} == {"onnxruntime"}


def test_threads_made_inside_stay_on_the_cpus() -> None:
    before = os.sched_getaffinity(0)
    cpu = max(before)
    with on_cpus([cpu]):
        assert os.sched_getaffinity(0) == {cpu}
    assert os.sched_getaffinity(0) == before


def test_a_runtime_takes_its_default_only_where_that_keeps_it_on_our_cores() -> None:
    cores = os.cpu_count() or 1
    assert Task({}, {}, {}, tuple(range(cores))).default_threads == 0
    assert Task({}, {}, {}, tuple(range(cores + 1))).default_threads == cores + 1


def test_symbolic_shapes_become_those_of_the_artifact(module: Module, task: Task, tmp_path: Path) -> None:
    tenant = module.workload.tenants[1]
    model = onnx.load_from_string(task.models[tenant.name])
    fixed = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    path = tmp_path / "symbolic.onnx"
    onnx.save(model, path)
    content, names = static_model(path, tenant)
    found = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in found] == fixed
    assert names == tuple(port.name for port in tenant.inputs)


def test_another_model_is_refused(module: Module, task: Task, tmp_path: Path) -> None:
    one, other = module.workload.tenants
    model = onnx.load_from_string(task.models[other.name])
    model.graph.input[0].name = "x"
    model.graph.node[0].input[0] = "x"
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"other\.onnx: inputs x, the artifact has input$"):
        static_model(path, one)
    model = onnx.load_from_string(task.models[other.name])
    model.graph.output[0].name = model.graph.node[-1].output[0] = "z"
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"other\.onnx: no output 'output': not the model that tiny_mlp was made from"):
        static_model(path, other)


def test_where_the_models_are(tmp_path: Path) -> None:
    there = tmp_path / "det=1.onnx"
    there.touch()
    tenants = ["det#1", "det#2"]
    assert paths([f"det={there}"], tenants, []) == {"det#1": there, "det#2": there}
    recorded = [{"name": name, "path": str(there)} for name in tenants]
    assert paths([], tenants, recorded) == {"det#1": there, "det#2": there}
    for given, rows, message in (
        ([f"det#1={there}"], [], "det#2: its file is not recorded; name the original model: --models det#2=MODEL.onnx"),
        (["det#2=no"], recorded, "det#2: no is not there; name the original model: --models det#2=MODEL.onnx"),
        (["dat=x"], recorded, "--models dat=x: no tenant 'dat', the tenants are: det#1, det#2"),
        (["=x"], recorded, "--models =x: allowed: TENANT=MODEL.onnx"),
    ):
        with pytest.raises(UserError) as refused:
            paths(given, tenants, rows)
        assert str(refused.value) == message
