"""The real driver's calls, on bindings that refuse what CUDA refuses and that do nothing before somebody waits."""

from __future__ import annotations

import inspect
import random
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gacer_tune.devices.cuda.gpu import part_sms
from gacer_tune.errors import UserError
from gacer_tune.executor.cuda import nvidia
from gacer_tune.executor.cuda.session import LoadedGraph
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.schedule import lane_per_tenant, sequential
from tests.cuda.fake_bindings import LEGACY, Handle, cudaError_t, cudaStream_t
from tests.cuda.fake_cuda import FakeCuda
from tests.cuda.fake_driver import FakeDriver
from tests.cuda.fake_green import FakeGreen
from tests.cuda.real_driver import EXPECTED, PAIR, Opened, module_on
from tests.cuda.test_graph import Toy, outputs


def test_any_schedule_gives_the_sequential_bytes(opened: Opened) -> None:
    for seed in range(12):
        rng = random.Random(seed)
        session, cuda = opened(3, seed, refuse_updates=seed % 3 == 0)
        old = None
        for _ in range(4):
            schedule = replace(random_schedule(PAIR, 3, rng), priorities=(seed % 2,))
            old = session.load(lower(PAIR, schedule, session.memory), "tenants", old)
            session.poison()
            session.flush()
            session.run(old)
            assert [session.port(t, p).tobytes() for t, m in enumerate(PAIR.tenants) for p in m.outputs] == EXPECTED
            assert session.seconds(old) > 0 and all(at > 0 for at in session.times(old))
            assert set(cuda.driver.instances) == {int(session.driver._owned[old.instance])}  # type: ignore[attr-defined]
            assert not cuda.driver.graphs and not cuda.last


def test_timelines_and_discarded_graphs(opened: Opened) -> None:
    session, cuda = opened(2)
    rows = session.timeline(lower(PAIR, lane_per_tenant(PAIR, 2), session.memory))
    assert [row[:3] for row in rows] == [(0, 0, 0), (0, 1, 0), (1, 0, 1)]
    assert all(begin < end for *_, begin, end in rows)
    assert not cuda.driver.instances


def test_priorities_as_cuda_wants_them(opened: Opened) -> None:
    """Lower numbers go first."""
    session, cuda = opened(3)
    session.load(lower(PAIR, replace(lane_per_tenant(PAIR, 3), priorities=(0, 2)), session.memory))
    made: list[cudaStream_t] = [h for h, _ in session.driver._owned._made.values() if type(h) is cudaStream_t]  # type: ignore[attr-defined]
    assert [cuda.driver.priorities[int(stream)] for stream in made] == [0, 0, 0, 2]


def test_another_thread_can_load_and_run(opened: Opened) -> None:
    """Its first call is a launch, which needs a context of the thread's own."""
    session, found = opened(2)[0], list[LoadedGraph]()
    plan = lower(PAIR, lane_per_tenant(PAIR, 2), session.memory)
    worker = threading.Thread(target=lambda: found.append(session.load(plan)))
    worker.start()
    worker.join()
    session.run(found[0])
    assert [session.port(t, p).tobytes() for t, m in enumerate(PAIR.tenants) for p in m.outputs] == EXPECTED


def test_a_capture_that_breaks_off_leaves_the_stream_usable(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    session, cuda = opened(2)
    plan = lower(PAIR, lane_per_tenant(PAIR, 2), session.memory)
    session.load(plan)
    original = FakeDriver.launch

    def interrupted(self: FakeDriver, function: str, *rest: Any) -> None:
        if function.startswith("b/"):
            raise KeyboardInterrupt
        original(self, function, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FakeDriver, "launch", interrupted)
        session.load(plan)
    assert cuda.driver.capturing is None and not cuda.last
    assert outputs(session, lane_per_tenant(PAIR, 2)) == EXPECTED


def test_inputs_on_the_device_are_waited_for(opened: Opened) -> None:
    """They are ready on the default stream only when what it was given before is done."""
    session, cuda = opened(2)
    (port,) = PAIR.tenants[0].inputs
    given = int(cuda.driver.allocate(port.shape[0]))
    cuda.queues[LEGACY].append(lambda: cuda.driver.place(given, port.shape[0]).fill(1))
    session.port(0, port)[...] = 77
    loaded = session.load(lower(PAIR, lane_per_tenant(PAIR, 2), session.memory))
    session.take(0, port, given)
    session.run(loaded)
    assert [session.port(t, p).tobytes() for t, m in enumerate(PAIR.tenants) for p in m.outputs] == EXPECTED


def test_an_artifact_runs_from_python(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/cuda.md shows it; outputs are on the GPU too, where other libraries read them."""
    session, cuda = opened(2)
    module = module_on([session], lane_per_tenant(PAIR, 2), tmp_path, monkeypatch)
    inputs = {t: {port: np.full(shape, 1 + n, kind) for port, (shape, kind) in module.inputs(t).items()}
              for n, t in enumerate(module.tenants)}  # fmt: skip
    outputs = module.run(inputs)
    assert [outputs[tenant]["y"].tobytes() for tenant in module.tenants] == EXPECTED
    assert module.run_one("a", inputs["a"])["y"].tobytes() == EXPECTED[0]
    found = module.device_outputs("a")["y"].__cuda_array_interface__
    assert cuda.driver.place(found["data"][0], found["shape"][0]).tobytes() == EXPECTED[0]


def test_memory_that_is_not_there_is_the_users_problem(opened: Opened) -> None:
    session, cuda = opened(1)
    cuda.free = 1000
    with pytest.raises(UserError, match="the models need 1001 bytes of the GPU's memory, 1000 are free"):
        session.driver.allocate(1001)


def test_the_fake_does_nothing_before_somebody_waits(opened: Opened) -> None:
    session, cuda = opened(1)
    address, data = session.driver.allocate(4), np.zeros(4, np.uint8)
    stream = session.streams[0]
    session.driver.fill(address, 5, 4, stream)
    pinned = session.driver.staging(4)
    session.driver.download(pinned, address, stream)
    assert pinned.tolist() != [5] * 4
    with pytest.raises(AssertionError, match="is no int"):
        cuda.cudaMalloc(np.int64(4))
    session.driver.synchronize(stream)
    assert pinned.tolist() == [5] * 4 and not data.any()


def test_the_fake_refuses_what_is_destroyed(opened: Opened) -> None:
    session, _ = opened(1)
    loaded = session.load(lower(PAIR, sequential(PAIR, 1), session.memory))
    made = session.driver._owned._made  # type: ignore[attr-defined]
    instance = made[loaded.instance]
    session.discard(loaded)
    made[loaded.instance] = instance
    with pytest.raises(AssertionError, match="was destroyed"):
        session.run(loaded)
    del made[loaded.instance]


def test_shares_become_green_contexts(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the driver rounds groups up, as on an A100: 13 multiprocessors become 14, and there are only 7."""
    for sms, step, part in ((132, 8, 16), (108, 2, 12)):
        session, cuda = opened(3)
        low = FakeGreen(cuda, sms, step)
        assert part_sms(low) == part
        monkeypatch.setattr(nvidia, "import_module", {"cuda.bindings.driver": low}.__getitem__)
        schedule = replace(lane_per_tenant(PAIR, 3), priorities=(0, 1), shares=(0, 5, 3))
        loaded = session.load(lower(PAIR, schedule, session.memory))
        session.poison()
        session.run(loaded)
        assert [session.port(t, p).tobytes() for t, m in enumerate(PAIR.tenants) for p in m.outputs] == EXPECTED
        nodes = cuda.driver.instances[int(session.driver._owned[loaded.instance])].nodes  # type: ignore[attr-defined]
        assert sorted(((n.what[1][0], n.parts, n.priority) for n in nodes), key=str) == [
            ("a", None, 0), ("a", None, 0), ("b", (0, 5), 1), ("b", (5, 8), 0),
        ]  # fmt: skip
        for shares, parts in (
            ((0, 3, 5), {None, (0, 3), (3, 8)}),
            ((), {None}),
        ):  # graphs that are alike, but for the parts
            other = lower(PAIR, replace(schedule, shares=shares), session.memory)
            loaded = session.load(other, old=loaded)
            nodes = cuda.driver.instances[int(session.driver._owned[loaded.instance])].nodes  # type: ignore[attr-defined]
            assert {node.parts for node in nodes} == parts
        session.load(lower(PAIR, replace(schedule, priorities=(0, 0, 2)), session.memory))
        assert len(low.contexts) == 4, "contexts are used again, for streams of any priority"


def test_drivers_without_green_contexts_have_no_parts() -> None:
    cuda = FakeCuda(FakeDriver(Toy(PAIR)))
    assert part_sms(FakeGreen(cuda, 132, 100)) == 0
    assert part_sms(object()) == 0


def real_argument(real: Any, kind: type) -> Any:
    if kind is int:
        return 1
    found = getattr(real, kind.__name__)
    return found(0) if issubclass(kind, Handle) else next(iter(found))


def arities(cuda: Any, real: Any) -> dict[str, tuple[int, int, int, int]]:
    """Of each call: what the real one and ours takes, how much the real one and ours answers, where no driver is."""
    found = {}
    for name, ours in inspect.getmembers(cuda, inspect.isfunction):
        if not name.startswith("cuda"):
            continue
        theirs = getattr(real, name)
        signature = (theirs.__doc__ or "").splitlines()[0]
        inside = re.sub(r":[^,)]*", "", signature[signature.index("(") + 1 : signature.rindex(")")])
        answer = theirs(*[real_argument(real, kind) for kind in ours.kinds])
        found[name] = (len([p for p in inside.split(",") if p.strip()]), len(ours.kinds), len(answer), 1 + ours.results)
    return found


@pytest.mark.skipif(find_spec("cuda") is None, reason="without cuda-bindings")
def test_the_fake_takes_and_answers_what_the_bindings_do() -> None:
    real = import_module("cuda.bindings.runtime")
    if real.cudaDriverGetVersion()[1]:
        pytest.skip("with a driver, calls with made-up handles would harm")
    found = arities(FakeCuda, real)
    assert len(found) > 20
    assert not {name: row for name, row in found.items() if row[0] != row[1] or row[2] != row[3]}
    codes = {one.name: int(one) for one in cudaError_t}
    assert {name: int(getattr(real.cudaError_t, name)) for name in codes} == codes
    flags = ("cudaStreamNonBlocking", "cudaEventDefault", "cudaEventDisableTiming", "cudaEventRecordExternal")
    assert [getattr(real, name) for name in flags] == [getattr(FakeCuda, name) for name in flags]


@pytest.mark.skipif(find_spec("cuda") is None, reason="without cuda-bindings")
def test_green_contexts_are_called_as_the_bindings_have_them() -> None:
    """Their arguments are converted before they find that there is no driver."""
    low = import_module("cuda.bindings.driver")
    group = low.CUdevResource()
    assert group.sm.smCount == 0
    flags = int(low.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM), int(low.CUstream_flags.CU_STREAM_NON_BLOCKING)
    assert flags == (1, 1)
    calls: list[Callable[[], Any]] = [
        lambda: low.cuDeviceGetDevResource(low.CUdevice(0), low.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM),
        lambda: low.cuDevSmResourceSplitByCount(8, group, 0, 16),
        lambda: low.cuDevResourceGenerateDesc([group, group], 2),
        lambda: low.cuGreenCtxCreate(low.CUdevResourceDesc(5), low.CUdevice(0), flags[0]),
        lambda: low.cuGreenCtxStreamCreate(low.CUgreenCtx(5), flags[1], -1),
        lambda: low.cuGreenCtxDestroy(low.CUgreenCtx(5)),
    ]
    if import_module("cuda.bindings.runtime").cudaDriverGetVersion()[1]:
        pytest.skip("with a driver, calls with made-up handles would harm")
    for one in calls:
        with pytest.raises(RuntimeError, match=r"libcuda|NVIDIA driver library"):
            one()
    assert int(low.CUstream(7)) == 7
