"""The measuring process that is started early: what is not ready yet is waited for, what died is started again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gacer_tune.devices import child
from gacer_tune.devices.child import ChildDevice, describe
from gacer_tune.errors import UserError
from gacer_tune.executor import threads
from gacer_tune.ir.schedule import sequential
from gacer_tune.search.trial import Failure, Timing
from gacer_tune.store.tensors import save_weights
from gacer_tune.tenants import functions
from tests.support.compiled import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the tuner fills it."""
    built, path = tiny(), tmp_path_factory.mktemp("child")
    workload = built.compiled.workload
    (path / "module.so").symlink_to(built.module)
    describe(path, workload, functions(workload))
    save_weights(path / "weights.safetensors", built.compiled.weights.items())
    return path


@pytest.fixture
def early() -> Iterator[ChildDevice]:
    with ChildDevice(Path(), ()) as device:
        device.start()
        yield device


def device_on(folder: Path) -> ChildDevice:
    return ChildDevice(folder, threads.allowed_cpus()[:2])


def pid(device: ChildDevice) -> int:
    assert device._child is not None
    return device._child.pid


def same_outputs(device: ChildDevice, path: Path) -> bool:
    """Whether the child's outputs are those of the sequential plan in this process."""
    device.outputs(path)
    found, wanted = load_file(str(path)), tiny().bench.outputs()
    return found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_an_early_child_does_what_one_of_its_own_does(folder: Path, early: ChildDevice, tmp_path: Path) -> None:
    with device_on(folder) as device:
        number = pid(early)
        device.take(early)
        device.open()
        assert pid(device) == number
        early.close()
        assert same_outputs(device, tmp_path / "taken")
        assert isinstance(device.measure(sequential(tiny().compiled.workload, 2), 2), Timing)
    with device_on(folder) as device:
        assert same_outputs(device, tmp_path / "own")


def test_an_early_child_that_died_is_not_taken(folder: Path, early: ChildDevice, tmp_path: Path) -> None:
    assert early._child is not None
    early._child.kill()
    early._child.wait()
    with device_on(folder) as device:
        device.take(early)
        assert device._child is None
        assert same_outputs(device, tmp_path / "own")


def test_a_child_that_dies_while_it_opens_is_one_failure(folder: Path) -> None:
    schedule = sequential(tiny().compiled.workload, 2)
    with device_on(folder) as device:
        device.open()
        os.kill(pid(device), signal.SIGSEGV)
        failure = device.measure(schedule, 2)
        assert failure == Failure("crash", "the measuring process ended with SIGSEGV")
        assert isinstance(device.measure(schedule, 2), Timing), "the next one has a child of its own"


def test_a_folder_that_cannot_be_opened_is_told_by_the_first_request(tmp_path: Path) -> None:
    with device_on(tmp_path) as device:
        device.open()
        with pytest.raises(UserError, match=r"the sequential plan does not run: crash: .* exit code 1"):
            device.outputs(tmp_path / "outputs")


def test_what_was_never_opened_is_closed(early: ChildDevice) -> None:
    number = pid(early)
    early.close()
    assert gone(number)


def gone(number: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(number, 0)
        return False
    return True


def test_faults_reach_an_early_child(folder: Path, early: ChildDevice) -> None:
    schedule = sequential(tiny().compiled.workload, 2)
    with replace(device_on(folder), faults={schedule.digest: "wrong-output"}) as device:
        device.take(early)
        assert device.measure(schedule, 2) == Failure("wrong-output", "injected")


def test_a_child_that_stands_still_costs_its_time_also_where_it_is_told_much(folder: Path) -> None:
    """More than a pipe holds: to write it must not wait for ever."""
    with device_on(folder) as device:
        assert isinstance(device.measure(sequential(tiny().compiled.workload, 2), 2), Timing)
        number = pid(device)
        os.kill(number, signal.SIGSTOP)
        rescue = threading.Timer(20, os.kill, (number, signal.SIGKILL))
        rescue.start()
        reply = device._ask({"do": "measure", "schedules": [], "padding": "x" * 300_000}, 0.2)
        rescue.cancel()
        assert reply == Failure("timeout", "no answer within 0.2 s")
        assert isinstance(device.measure(sequential(tiny().compiled.workload, 2), 2), Timing)


def test_kernels_of_a_slow_workload_are_given_the_time_that_they_take(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit grows with a run of all tenants on one lane: a child that works is not one that hangs."""
    monkeypatch.setattr(child, "OPEN_S", 0.001)
    with device_on(folder) as device:
        device.open()
        device._opened, device._lone_s = isinstance(device._answer(60.0), dict), 0.1
        assert device._opened
        assert device.profile().alone
