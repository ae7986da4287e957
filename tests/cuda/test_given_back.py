"""What a module has on a GPU is given back: when nobody has it any more, when it is closed, never after the end."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gacer_tune.errors import UserError
from gacer_tune.executor.cuda import nvidia
from gacer_tune.executor.cuda.session import CudaSession
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import lane_per_tenant
from tests.cuda.fake_cuda import FakeCuda
from tests.cuda.fake_green import FakeGreen
from tests.cuda.real_driver import PAIR, Opened, module_on

SHARED = replace(lane_per_tenant(PAIR, 3), priorities=(0, 1), shares=(0, 5, 3))
ROOT = Path(__file__).parent.parent.parent


def used(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> tuple[list[CudaSession], FakeCuda, FakeGreen]:
    """A session that has had all there is: green contexts, priorities, marks, graphs that were updated and not."""
    session, cuda = opened(3)
    low = FakeGreen(cuda)
    monkeypatch.setattr(nvidia, "import_module", {"cuda.bindings.driver": low}.__getitem__)
    plans = [lower(PAIR, schedule, session.memory) for schedule in (SHARED, replace(SHARED, shares=()))]
    old = session.load(plans[0], "tenants")
    for plan in (*plans, plans[1]):
        old = session.load(plan, "slices", old)
        session.seconds(old)
    session.timeline(plans[0])
    session.flush()
    session.take(0, PAIR.tenants[0].inputs[0], session.base)
    made = cuda.left()
    assert len(low.contexts) == 2 and set(made) == {"memory", "pinned", "streams", "events", "instances"}
    return [session], cuda, low


def test_what_is_dropped_is_given_back(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, though its last work was never waited for."""
    sessions, cuda, low = used(opened, monkeypatch)
    assert any(cuda.queues.values()), "work that nobody has waited for"
    sessions.clear()
    assert cuda.left() == {} and not low.contexts and not cuda.last


def test_modules_loaded_one_after_the_other_do_not_add_up(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        sessions, cuda, low = used(opened, monkeypatch)
        module = module_on(sessions, SHARED, tmp_path, monkeypatch)
        inputs = {port: np.ones(shape, kind) for port, (shape, kind) in module.inputs("a").items()}
        module.run_one("a", inputs)
        assert cuda.left()
        del module
        assert cuda.left() == {} and not low.contexts


def test_a_closed_module_has_nothing_and_does_nothing(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, cuda, low = used(opened, monkeypatch)
    with module_on(sessions, SHARED, tmp_path, monkeypatch) as module:
        inputs = {port: np.ones(shape, kind) for port, (shape, kind) in module.inputs("a").items()}
        assert cuda.left()
    assert cuda.left() == {} and not low.contexts
    for call in (lambda: module.run_one("a", inputs), lambda: module.device_outputs("a"), module.trace):
        with pytest.raises(UserError, match="this module is closed, load it again"):
            call()
    module.close()
    assert module.tenants == ["a", "b"]


def test_memory_lives_as_long_as_an_array_of_it(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs on the GPU, which torch holds on to while it reads them, and inputs and outputs on the host."""
    sessions, cuda, _ = used(opened, monkeypatch)
    module = module_on(sessions, SHARED, tmp_path, monkeypatch)
    output = module.device_outputs("a")["y"]
    staged = module.session.port(0, PAIR.tenants[0].inputs[0])[1:]
    del module
    assert cuda.left()["memory"] == 2
    del output
    assert cuda.left()["pinned"] == 4
    del staged
    assert cuda.left() == {}


def test_a_session_that_could_not_be_made_leaves_nothing(opened: Opened) -> None:
    session, cuda = opened(1)
    driver = session.driver
    del session
    cuda.free = 10
    with pytest.raises(UserError, match="bytes of the GPU's memory, 10 are free"):
        CudaSession(driver, PAIR, lower(PAIR, lane_per_tenant(PAIR, 1)).memory, 1)
    del driver
    assert cuda.left() == {}


@pytest.mark.parametrize(("dropped", "freed"), [("del session", "freed\n"), ("", "")])
def test_nothing_is_given_back_while_the_process_ends(dropped: str, freed: str) -> None:
    """The driver may be gone by then, and gives everything back itself."""
    said = (
        "import pytest; from tests.cuda.real_driver import opener; from gacer_tune.executor.cuda.owned import Owned; "
        "free = Owned.free; Owned.free = lambda self: (free(self), print('freed')); "
        f"session, cuda = opener(pytest.MonkeyPatch())(2); {dropped}"
    )
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (freed, "")
