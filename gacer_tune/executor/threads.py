"""Worker threads: TVM's runtime without the rest of TVM, its pool set to one pinned thread for each lane."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi
from numpy.typing import NDArray

from gacer_tune.errors import UserError

# Polls of a worker for the next run before it sleeps, about 4 ms; TVM's default keeps a core busy for 0.2 s after each.
SPINS = "5000"
MASK_NBYTES = 1024  # a bit for each of 8192 CPUs

_configured = threading.local()
_idle: list[ThreadPoolExecutor] = []  # of one thread each


@cache
def load_runtime() -> None:
    """Load TVM's runtime library (3 MB) into the process; `import tvm` would bring its compiler (250 MB) too."""
    found = find_spec("tvm")
    if found is None or found.origin is None:
        raise UserError("TVM's runtime is not installed: pip install apache-tvm==0.27.0.post1")
    library = Path(found.origin).parent / "lib" / "libtvm_runtime.so"
    if not library.exists():
        library = next(Path(found.origin).parent.rglob("libtvm_runtime.so"))
    os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", SPINS)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def allowed_cpus() -> tuple[int, ...]:
    """CPUs this process may use, one thread of each core first."""
    cpus = sorted(os.sched_getaffinity(0))
    return tuple(sorted(cpus, key=lambda cpu: (_sibling_rank(cpu, cpus), cpu)))


def _sibling_rank(cpu: int, cpus: Sequence[int]) -> int:
    """How many allowed hardware threads of the same core come before this one."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    if not path.exists():
        return 0
    siblings: set[int] = set()
    for part in path.read_text().strip().split(","):
        first, _, last = part.partition("-")
        siblings.update(range(int(first), int(last or first) + 1))
    return sum(1 for other in cpus if other in siblings and other < cpu)


def require_lanes(lanes: int, cpus: Sequence[int]) -> None:
    """Refuse more lanes than cores: a lane without a core of its own could wait for ever."""
    if lanes < 1:
        raise UserError(f"lanes: {lanes}, at least 1")
    if lanes > len(cpus):
        raise UserError(f"lanes: {lanes}, this process may use {len(cpus)} cores ({_listed(cpus)})")


def chosen_cpus(cpus: Sequence[int]) -> tuple[int, ...]:
    """The same CPUs. Raises UserError for one that this process may not use, or that is given twice: a lane would share
    its core with another one."""
    allowed = allowed_cpus()
    if len(set(cpus)) < len(cpus) or not set(cpus) <= set(allowed):
        raise UserError(f"cpus: {_listed(cpus)} given, allowed: each once of {_listed(allowed)}")
    return tuple(cpus)


def _listed(cpus: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))


def configure(cpus: Sequence[int]) -> None:
    """Give the calling thread a pool with one worker pinned to each of cpus; it runs the first lane itself.

    TVM keeps a pool for each calling thread, so this is done once for each of them. The calling thread's own affinity
    is left as it was.
    """
    wanted = tuple(cpus)
    if getattr(_configured, "cpus", None) == wanted:
        return
    before = os.sched_getaffinity(0)
    try:
        if not hasattr(_configured, "cpus"):
            # A pool never grows: make it with all the workers that may ever be asked for. This thread may have fewer
            # CPUs than the process.
            every = {*wanted, *allowed_cpus(), *os.sched_getaffinity(os.getpid())}
            _pool(sorted(every))
        _pool(wanted)
    finally:
        os.sched_setaffinity(0, before)
    workers = int(function("runtime.NumThreads")())
    if workers < len(wanted):
        raise UserError(f"lanes: {len(wanted)}, TVM's runtime gives this thread {workers} workers")
    _configured.cpus = wanted


def _pool(cpus: Sequence[int]) -> None:
    function("runtime.config_threadpool")(-2, len(cpus), [str(cpu) for cpu in cpus])


def carry_out(run: Callable[[], None]) -> None:
    """Call it in a thread whose workers live, and that lives as long as they do: TVM never ends them.

    The main thread is one. Others come and go; and workers do not come along where a process is forked, so that the
    thread that does would wait for them for ever.
    """
    if threading.current_thread() is threading.main_thread() and not hasattr(_configured, "forked"):
        run()
        return
    try:
        runner = _idle.pop()
    except IndexError:
        runner = ThreadPoolExecutor(1)
    try:
        runner.submit(run).result()
    finally:
        _idle.append(runner)


def _forked() -> None:
    """In the new process, of whose threads only this one is left."""
    _idle.clear()
    if hasattr(_configured, "cpus"):
        _configured.forked = True


os.register_at_fork(after_in_child=_forked)


def mask(cpu: int) -> NDArray[np.uint8]:
    """One CPU, as the system's calls want it."""
    found = np.zeros(MASK_NBYTES, np.uint8)
    found[cpu // 8] = 1 << cpu % 8
    return found


def function(name: str) -> Any:
    load_runtime()
    return tvm_ffi.get_global_func(name)
