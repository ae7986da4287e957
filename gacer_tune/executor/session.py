"""A compiled module in this process: its memory, and plans that run in it."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi
from numpy.typing import NDArray

from gacer_tune.errors import UserError
from gacer_tune.executor import threads
from gacer_tune.executor.memory import SLACK, Array, Block, port_nbytes
from gacer_tune.executor.table import COUNTER_STRIDE, ENTRY, STATE, THEFT, Table, tabulate
from gacer_tune.ir.memory import ALIGNMENT
from gacer_tune.ir.plan import Memory, Plan
from gacer_tune.ir.workload import Port, Workload
from gacer_tune.temporary import another_name

MOST_STOLEN = 4096  # thefts of a lane in a run that are written down
EPOCH = 1 << 32  # counters advance by this from run to run: more than the rows of any lane
LAST_EPOCH = (1 << 63) - EPOCH  # counters are int64


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plan whose tables are ready to be handed to the interpreter."""

    plan: Plan
    table: Table
    tensors: tuple[Any, ...]
    times: NDArray[np.int64]  # (rows, 2): cycle counter when each row began and ended, of the last run
    stolen: NDArray[np.int64]  # (1 + lanes x (1 + room), THEFT): room, then of each lane how often it stole, and what

    def timeline(self, cycles_per_second: float) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of the last run, seconds since its first one; then of
        what was stolen from slices, by the lane that stole it."""
        begin = int(self.times[:, 0].min()) if len(self.times) else 0
        lanes = (lane for lane, slices in enumerate(self.plan.lanes) for _ in slices)
        marks = [(lane, row, *cycles) for row, (lane, cycles) in enumerate(zip(lanes, self.times, strict=True))]
        found = []
        for lane, row, *cycles in (*marks, *self._thefts()):
            first, last = ((int(at) - begin) / cycles_per_second for at in cycles)
            found.append((self.table.slices[row].tenant, self.table.slices[row].kernel, lane, first, last))
        return found

    def worked(self) -> NDArray[np.int64]:
        """(rows,): cycles that lanes worked at each slice in the last run, also those that stole from it."""
        found = self.times[:, 1] - self.times[:, 0]
        for _, row, begin, end in self._thefts():
            found[row] += end - begin
        return found

    def _thefts(self) -> Iterator[tuple[int, ...]]:
        """(lane, row, begin, end)"""
        room = int(self.stolen[0, 0])
        for lane in range(self.table.lanes if room else 0):
            log = self.stolen[1 + lane * (1 + room) :].tolist()
            yield from ((lane, *entry) for entry in log[1 : 1 + log[0][0]])


class Session(Block):
    """Not for several threads at once: a run holds a lock."""

    def __init__(
        self, module: Path, workload: Workload, memory: Memory, functions: Sequence[str], cpus: Sequence[int]
    ) -> None:
        threads.load_runtime()
        super().__init__(workload, memory)
        self.cpus = tuple(cpus)
        self._run = _entry(module)
        self._functions = {name: number for number, name in enumerate(functions)}
        self.bytes = aligned(memory.nbytes + SLACK, np.uint8)
        touch(self.bytes, len(self.cpus))
        self._counters = aligned(COUNTER_STRIDE * (len(self.cpus) + 1), np.int64)
        state = aligned(STATE * len(self.cpus), np.int64)
        self._shared = tuple(tvm_ffi.from_dlpack(block) for block in (self.bytes, self._counters, state))
        self._masks = tuple(tvm_ffi.from_dlpack(mask) for mask in (threads.mask(self.cpus[0]), threads.mask(0)))
        self._epoch = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Its memory is of Python, and goes with the last who has an array of it."""

    def _write(self, offset: int, data: Array) -> None:
        self.bytes[offset : offset + data.nbytes] = data

    def port(self, tenant: int, port: Port) -> Array:
        """The memory of an input or output, as an array of its shape."""
        start = self.memory.offsets[tenant][port.buffer]
        return self.bytes[start : start + port_nbytes(port)].view(port.dtype).reshape(port.shape)

    def poison(self) -> None:
        """Make everything but weights and inputs NaN, so that a value nobody computed cannot pass for an old one."""
        kept = [(t, port, self.port(t, port).copy()) for t, m in enumerate(self.workload.tenants) for port in m.inputs]
        self.bytes[self.memory.weights_nbytes :] = 0xFF
        for tenant, port, array in kept:
            self.port(tenant, port)[...] = array

    def load(self, plan: Plan) -> Loaded:
        """Raises UserError for more lanes than CPUs, KeyError for a function that the module lacks."""
        threads.require_lanes(len(plan.lanes), self.cpus)
        table = tabulate(self.workload, plan, self._functions)
        times = aligned(max(1, 2 * len(table.rows)), np.int64)
        room = min(MOST_STOLEN, 2 * len(table.rows) + STATE) if table.steal else 0
        stolen = aligned(THEFT * (1 + table.lanes * (1 + room)), np.int64)
        stolen[0] = room
        parts = [_filled(part) for part in (table.rows, table.operands, table.waits, table.starts)]
        tensors = tuple(tvm_ffi.from_dlpack(part) for part in (*parts, times, stolen))
        return Loaded(plan, table, tensors, times[: 2 * len(table.rows)].reshape(-1, 2), stolen.reshape(-1, THEFT))

    def run(self, loaded: Loaded) -> None:
        """Carry out the plan once, on the CPUs of this session."""
        threads.carry_out(partial(self._carry_out, loaded))

    def _carry_out(self, loaded: Loaded) -> None:
        rows, operands, waits, starts, times, stolen = loaded.tensors
        memory, counters, state = self._shared
        with self._lock:
            threads.configure(self.cpus)
            if self._epoch == LAST_EPOCH:  # after 2^31 runs, which for a small model is half a day
                self._counters[:], self._epoch = 0, 0
            self._epoch += EPOCH
            self._run(
                memory, rows, operands, waits, starts, counters, times, state, stolen, *self._masks, self._epoch,
                loaded.table.lanes,
            )  # fmt: skip


def _entry(module: Path) -> Any:
    """The interpreter of a module, which is unloaded when nobody has it any more."""
    try:
        with another_name(module) as name:
            return tvm_ffi.load_module(str(name), keep_module_alive=False)[ENTRY]
    except AttributeError as error:
        raise UserError(f"{module}: made by an older gacer-tune, tune again") from error


def aligned(count: int, dtype: Any) -> Array:
    """Zeros, 64-byte aligned."""
    nbytes = count * np.dtype(dtype).itemsize
    block = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes].view(dtype)


def touch(block: Array, threads: int) -> None:
    """Have the system provide the memory, to several threads at once: that can take longer than to fill it."""
    part = -(-len(block) // threads)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda i: block[i * part : (i + 1) * part : mmap.PAGESIZE].fill(0), range(threads)))


def _filled(values: NDArray[np.int64]) -> NDArray[np.int64]:
    block = aligned(max(1, values.size), np.int64)
    block[: values.size] = values.reshape(-1)
    return block
