"""A device whose candidates run in a child process: a crash or a hang costs one candidate, never the search."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gacer_tune.cost_model.profile import Profile
from gacer_tune.errors import UserError
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Workload
from gacer_tune.lines import Lines, send
from gacer_tune.processes import program
from gacer_tune.search.beside import Anchor
from gacer_tune.search.device import Pairs
from gacer_tune.search.trial import Failure, Timing, result_from_json

OPEN_S = 120.0
PROFILE_RUNS = 1000  # on one lane, all variants: it makes about 150, and slow variants take longer


@dataclass(frozen=True, slots=True)
class Limits:
    """answer_s: the longest a candidate may take, all its repeats included; memory: bytes of address space, 0: any."""

    answer_s: float = 30.0
    memory: int = 0


def describe(folder: Path, workload: Workload, functions: Sequence[str]) -> None:
    """Write workload.json: what the child is to know of the module in the folder."""
    described = {"workload": workload.to_json(), "functions": list(functions)}
    (folder / "workload.json").write_text(json.dumps(described))


@dataclass
class ChildDevice:
    """folder holds module.so, weights.safetensors and workload.json; faults inject failures by schedule digest."""

    folder: Path
    cpus: Sequence[int]
    limits: Limits = Limits()
    faults: dict[str, str] = field(default_factory=dict)
    _child: subprocess.Popen[bytes] | None = None
    _requests: int = -1
    _answers: Lines = field(default_factory=Lines)
    _opening: bool = False
    _opened: bool = False
    _lone_s: float = 0.0  # all tenants on one lane

    @property
    def lanes(self) -> int:
        return len(self.cpus)

    def measure(self, schedule: Schedule, repeats: int, give_up_s: float = math.inf) -> Timing | Failure:
        return self._timed({"do": "measure", "schedules": [schedule.to_json()], "repeats": repeats}, give_up_s)

    def beside(self, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float = math.inf) -> Timing | Failure:
        schedules = [schedule.to_json(), anchor[0].to_json()]
        return self._timed({"do": "beside", "schedules": schedules, "usual_s": anchor[1], "pairs": pairs}, give_up_s)

    def _timed(self, request: dict[str, Any], give_up_s: float) -> Timing | Failure:
        reply = self._ask({**request, "give_up_s": None if give_up_s == math.inf else give_up_s})
        return reply if isinstance(reply, Failure) else result_from_json(reply)

    def compare(self, a: Schedule, b: Schedule, pairs: int) -> Pairs | Failure:
        reply = self._ask({"do": "compare", "schedules": [a.to_json(), b.to_json()], "pairs": pairs})
        if isinstance(reply, Failure):
            return reply
        if "pairs" not in reply:
            failed = result_from_json(reply)
            assert isinstance(failed, Failure)
            return failed
        return tuple((float(one), float(other)) for one, other in reply["pairs"])

    def trace(self, schedule: Schedule) -> list[tuple[int, int, int, float, float]]:
        """(tenant, kernel, lane, begin_s, end_s) of every slice of one run; empty when the run fails."""
        reply = self._ask({"do": "trace", "schedules": [schedule.to_json()]})
        if isinstance(reply, Failure) or "trace" not in reply:
            return []
        return [(int(t), int(k), int(lane), float(a), float(b)) for t, k, lane, a, b in reply["trace"]]

    def profile(self) -> Profile:
        """Time every variant of every kernel. UserError when that fails: nothing can be searched without."""
        reply = self._ask({"do": "profile"}, OPEN_S, PROFILE_RUNS)
        if isinstance(reply, Failure):
            raise UserError(f"profiling the kernels failed: {reply.kind}: {reply.message}")
        return Profile.from_json(reply["profile"])

    def outputs(self, path: Path) -> float:
        """Save the sequential plan's outputs as safetensors; return the cycles of the time stamp counter per second."""
        reply = self._ask({"do": "outputs", "path": str(path)}, OPEN_S)
        if isinstance(reply, Failure):
            raise UserError(f"the sequential plan does not run: {reply.kind}: {reply.message}")
        return float(reply["cycles_per_second"])

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        self._opening = self._opened = False
        if child is None:
            return
        for end in (self._requests, self._answers.pipe):
            with contextlib.suppress(OSError):
                os.close(end)
        child.kill()
        child.wait()

    def __enter__(self) -> ChildDevice:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the child, which imports what it needs and then waits to be opened. The folder may still be empty."""
        theirs_in, self._requests = os.pipe()
        os.set_blocking(self._requests, False)
        answers, theirs_out = os.pipe()
        command = [*program("gacer_tune.devices.worker"), str(theirs_in), str(theirs_out)]
        self._child = subprocess.Popen(
            command, pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._answers = Lines(answers)

    def take(self, other: ChildDevice) -> None:
        """Use the child that another device has started and not opened, if it lives."""
        if other._child is None or other._child.poll() is not None:
            return
        self._child, self._requests, self._answers = other._child, other._requests, other._answers
        other._child = None

    def open(self) -> None:
        """Let a child begin to load the folder; the first request waits until it is done."""
        if self._child is None:
            self.start()
        request = {
            "folder": str(self.folder), "cpus": list(self.cpus), "memory_limit": self.limits.memory,
            "faults": self.faults,
        }  # fmt: skip
        self._opening = True
        with contextlib.suppress(BrokenPipeError):  # the end of its answers tells that it died
            self._send(request, OPEN_S)

    def _ask(self, request: dict[str, Any], limit_s: float | None = None, runs: int = 0) -> dict[str, Any] | Failure:
        """The answer, within limit_s and within as long as so many runs of all tenants on one lane may take."""
        if not (self._opening or self._opened):
            self.open()
        if not self._opened:
            opened = self._answer(OPEN_S)
            if isinstance(opened, Failure):  # it cannot even run the sequential plan
                return opened
            self._opened, self._lone_s = True, float(opened["lone_s"])
        limit_s = max(self.limits.answer_s if limit_s is None else limit_s, runs * self._lone_s)
        try:
            return self._answer(limit_s) if self._send(request, limit_s) else self._late(limit_s)
        except BrokenPipeError:
            return self._died()

    def _send(self, request: dict[str, Any], limit_s: float) -> bool:
        return send(self._requests, (json.dumps(request) + "\n").encode(), limit_s)

    def _answer(self, limit_s: float) -> dict[str, Any] | Failure:
        line = self._answers.next(limit_s)
        if line is None:
            return self._late(limit_s)
        if not line:
            return self._died()
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _late(self, limit_s: float) -> Failure:
        self.close()
        return Failure("timeout", f"no answer within {limit_s:g} s")

    def _died(self) -> Failure:
        assert self._child is not None
        code = self._child.wait()
        self.close()
        if code == -signal.SIGKILL:
            return Failure("memory", "killed by the system, most likely out of memory")
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Failure("crash", f"the measuring process ended with {name}")
