"""Lanes run on cores of their own, and the process that calls is left as it was."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from gacer_tune.devices.bench import Bench
from gacer_tune.errors import UserError
from gacer_tune.executor import session as sessions
from gacer_tune.executor import threads
from gacer_tune.executor.session import Session
from gacer_tune.ir.lower import lower
from gacer_tune.ir.memory import place
from gacer_tune.ir.schedule import breadth_first, sequential
from gacer_tune.tenants import functions
from tests.support.compiled import build, tiny
from tests.support.small_models import SMALL

CPUS = threads.allowed_cpus()
TWO = min(2, len(CPUS))


def worker_masks() -> list[set[int]]:
    """CPUs that each thread of this process may use, those pinned to a single one."""
    masks = []
    for task in Path("/proc/self/task").iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
            continue
        line = next(row for row in status.splitlines() if row.startswith("Cpus_allowed_list"))
        cpus = line.split(":")[1].strip()
        if cpus.isdigit():
            masks.append({int(cpus)})
    return masks


def test_affinity_of_the_caller_is_left_alone() -> None:
    built = tiny(TWO)
    before = os.sched_getaffinity(0)
    loaded = built.bench.load(sequential(built.compiled.workload, TWO))
    built.bench.session.run(loaded)
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(len(CPUS) < 2, reason="one core")
def test_the_first_lane_runs_on_its_own_core() -> None:
    """Where its caller may be elsewhere: seen from a second thread while this one runs the plan."""
    built = tiny(2)
    workload, memory = built.compiled.workload, built.bench.session.memory
    session = Session(built.module, workload, memory, functions(workload), CPUS[1::-1])
    loaded, caller, enough = session.load(lower(workload, sequential(workload, 1))), os.getpid(), threading.Event()

    def look() -> None:
        while not enough.is_set():
            seen.add(frozenset(os.sched_getaffinity(caller)))

    thread, seen, end = threading.Thread(target=look), set[frozenset[int]](), time.monotonic() + 20
    thread.start()
    while time.monotonic() < end and len(seen) < 2:
        session.run(loaded)
    enough.set()
    thread.join(60)
    assert seen == {frozenset(CPUS), frozenset(CPUS[1:2])}


@pytest.mark.skipif(len(CPUS) < 2, reason="one core")
def test_workers_are_pinned_to_the_cores_of_the_lanes() -> None:
    built = tiny(2)
    built.bench.session.run(built.bench.load(breadth_first(built.compiled.workload, 2)))
    assert {CPUS[1]} in worker_masks()


@pytest.mark.parametrize("lanes", range(1, TWO + 1))
def test_any_number_of_lanes(lanes: int) -> None:
    built = tiny(TWO)
    assert built.bench.digest(built.bench.load(breadth_first(built.compiled.workload, lanes))) == built.bench.expected


def test_more_lanes_than_cores_are_refused_before_anything_runs() -> None:
    built = tiny(TWO)
    with pytest.raises(UserError, match=f"lanes: {len(CPUS) + 1}, this process may use {len(CPUS)} cores"):
        threads.require_lanes(len(CPUS) + 1, CPUS)
    with pytest.raises(UserError, match="lanes: 3, this process may use"):
        built.bench.load(sequential(built.compiled.workload, 3))


def test_another_thread_may_run_it() -> None:
    """TVM's pool belongs to the calling thread; without enough workers a plan would wait for ever."""
    built = tiny(TWO)
    found: list[str] = []
    loaded = built.bench.load(breadth_first(built.compiled.workload, TWO))
    thread = threading.Thread(target=lambda: found.append(built.bench.digest(loaded)), daemon=True)
    thread.start()
    thread.join(60)
    assert found == [built.bench.expected]


def test_threads_that_come_and_go_leave_no_workers_behind() -> None:
    """As a server has them, one for each request: TVM would keep the workers of each."""
    built, found = tiny(TWO), list[str]()
    loaded = built.bench.load(breadth_first(built.compiled.workload, TWO))
    counts = []
    for number in range(1, 11):
        thread = threading.Thread(target=lambda: found.append(built.bench.digest(loaded)), daemon=True)
        thread.start()
        thread.join(60)
        assert found == [built.bench.expected] * number
        counts.append(len(worker_masks()))
    assert counts[-1] == counts[0]


def test_a_caller_with_fewer_cores_than_lanes_gets_all_its_workers() -> None:
    """Servers pin threads; those of the lanes are pinned to cores of their own."""
    built, found = tiny(TWO), list[str]()
    loaded = built.bench.load(breadth_first(built.compiled.workload, TWO))

    def run() -> None:
        os.sched_setaffinity(0, CPUS[:1])
        found.append(built.bench.digest(loaded))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert found == [built.bench.expected]


@pytest.mark.skipif(len(CPUS) < 2, reason="one core")
def test_a_pool_of_one_lane_grows() -> None:
    """Two artifacts with different lanes in one process, the narrow one first."""
    found: list[int] = []

    def widths() -> None:
        for count in (1, 2, 1, 2):
            threads.configure(CPUS[:count])
            found.append(int(threads.function("runtime.NumThreads")()))

    thread = threading.Thread(target=widths)
    thread.start()
    thread.join(60)
    assert found == [1, 2, 1, 2]


def test_siblings_of_a_core_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(pairs))
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda path: pairs[int(path.parts[5].removeprefix("cpu"))])
    assert threads.allowed_cpus() == (0, 1, 2, 3)
    pairs.update({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"})
    assert threads.allowed_cpus() == (0, 2, 1, 3)


def test_instances_share_weights() -> None:
    model = SMALL["squeezenet"](batch=1)
    one, two = build([("a", model)], 1, most=1), build([("a", model), ("b", model)], 1, most=1)
    weights = place(one.compiled.workload).weights_nbytes
    assert weights > 0
    assert place(two.compiled.workload).weights_nbytes == weights
    ports = [tenant.outputs[0] for tenant in two.compiled.workload.tenants]
    first, second = (two.bench.session.port(number, port) for number, port in enumerate(ports))
    assert first.shape == second.shape and not (first == second).all(), "instances have inputs of their own"


def test_a_module_of_another_interface_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built = tiny(TWO)
    workload = built.compiled.workload
    monkeypatch.setattr(sessions, "ENTRY", "another")
    with pytest.raises(UserError, match=r"\.so: made by an older gacer-tune, tune again"):
        Session(built.module, workload, place(workload), functions(workload), CPUS[:1])


def test_a_session_refuses_functions_it_does_not_have() -> None:
    built = tiny(TWO)
    workload = built.compiled.workload
    session = Session(built.module, workload, place(workload), functions(workload)[1:], CPUS[:1])
    with pytest.raises(KeyError):
        Bench(session)
