"""The child process that runs candidates: `python -m gacer_tune.devices.worker REQUESTS_FD ANSWERS_FD`.

One JSON document a line each way, on pipes of their own: what a kernel or a library prints cannot disturb them.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from gacer_tune.devices.bench import Bench
from gacer_tune.devices.cuda.bench import CudaBench
from gacer_tune.devices.cuda.bench import open_bench as open_cuda_bench
from gacer_tune.executor.session import Session
from gacer_tune.ir.memory import place
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import IllegalScheduleError
from gacer_tune.ir.workload import Workload
from gacer_tune.search.trial import Failure, result_json
from gacer_tune.store.tensors import mapped


def open_bench(request: dict[str, Any]) -> Bench | CudaBench:
    """Load module, workload and weights from the folder of the request."""
    folder = Path(request["folder"])
    described = json.loads((folder / "workload.json").read_text())
    workload = Workload.from_json(described["workload"])
    if workload.target == "cuda":
        return open_cuda_bench(folder, workload, len(request["cpus"]))
    session = Session(folder / "module.so", workload, place(workload), described["functions"], request["cpus"])
    session.place_weights(mapped(folder / "weights.safetensors").items())
    return Bench(session)


def inject(fault: str) -> Failure | None:
    """Do what a bad candidate does; for tests of the isolation."""
    if fault == "crash":
        os.abort()
    if fault == "hang":
        time.sleep(3600)
    if fault == "memory":
        raise MemoryError("injected")
    return Failure("wrong-output", "injected")


def answer(bench: Bench | CudaBench, request: dict[str, Any], faults: dict[str, str]) -> dict[str, Any]:
    """Carry out one request."""
    if request["do"] == "profile":
        return {"profile": bench.profile().to_json()}
    if request["do"] == "outputs":
        save_file(bench.right, request["path"])
        return {"cycles_per_second": bench.hertz}
    schedules = [Schedule.from_json(schedule) for schedule in request["schedules"]]
    for schedule in schedules if faults else ():
        if schedule.digest in faults and (failure := inject(faults[schedule.digest])) is not None:
            return result_json(failure)
    give_up_s = request.get("give_up_s") or math.inf
    try:
        if request["do"] == "measure":
            return result_json(bench.measure(schedules[0], request["repeats"], give_up_s))
        if request["do"] == "beside":
            anchor = schedules[1], request["usual_s"]
            return result_json(bench.beside(anchor, schedules[0], request["pairs"], give_up_s))
        if request["do"] == "trace":
            return {"trace": bench.trace(schedules[0])}
        return {"pairs": bench.compare(schedules[0], schedules[1], request["pairs"])}
    except IllegalScheduleError as error:
        return result_json(Failure("illegal", str(error)))
    except MemoryError as error:
        return result_json(Failure("memory", str(error) or "out of memory"))


def die_with_parent() -> None:
    """Let the system end this process when its parent dies, even in the middle of a run that hangs."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def serve(requests_fd: int, answers_fd: int) -> None:
    """Answer requests until the parent closes its end."""
    with os.fdopen(requests_fd) as requests, os.fdopen(answers_fd, "w") as answers:
        opening = json.loads(requests.readline())
        if opening.get("memory_limit"):
            resource.setrlimit(resource.RLIMIT_AS, (opening["memory_limit"],) * 2)
        bench = open_bench(opening)
        answers.write(json.dumps({"lone_s": bench.lone_s}) + "\n")
        answers.flush()
        for line in requests:
            try:
                reply = answer(bench, json.loads(line), opening.get("faults", {}))
            except MemoryError as error:
                reply = result_json(Failure("memory", str(error) or "out of memory"))
            answers.write(json.dumps(reply) + "\n")
            answers.flush()


if __name__ == "__main__":
    die_with_parent()
    serve(int(sys.argv[1]), int(sys.argv[2]))
