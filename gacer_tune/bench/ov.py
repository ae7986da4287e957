"""OpenVINO as a peer: its CPU device with the hint for latency, computing in the precision that we compute in.

Where the processor has instructions for it, its own default would be bfloat16. Inputs and outputs are shared with the
caller, its way without copies. With several models at once its threads are not pinned: it pins those of each model
without regard to the other models.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

from gacer_tune.bench.system import Arrays, RefusedError, RunOne, System, Task, all_at_once, one_by_one

NAME = "openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16"}


def systems(task: Task, stack: ExitStack) -> list[System]:
    """Raises RefusedError for a model it cannot load."""
    made = [System(f"{NAME} sequential", NAME, one_by_one(_requests(task, len(task.cpus), pinning=True)))]
    if len(task.models) > 1:
        each, default = (_requests(task, threads, pinning=False) for threads in (1, task.default_threads))
        made.append(System(f"{NAME} parallel, 1 thread each", NAME, all_at_once(each, stack)))
        made.append(System(f"{NAME} parallel, default threads", NAME, all_at_once(default, stack)))
    return made


def _requests(task: Task, threads: int, pinning: bool) -> dict[str, RunOne]:
    """A compiled model for each tenant; 0 threads: its own default."""
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _HINTS[task.precision]}
    settings["ENABLE_CPU_PINNING"] = pinning
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return {tenant: _request(core, task, tenant, settings) for tenant in task.models}


def _request(core: Any, task: Task, tenant: str, settings: dict[str, Any]) -> RunOne:
    try:
        compiled = core.compile_model(core.read_model(task.models[tenant], b""), "CPU", settings)
        request = compiled.create_infer_request()
        call = partial(_run, request, task.outputs[tenant], dict(task.inputs[tenant]))
        call()
    except (RuntimeError, TypeError, KeyError) as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        raise RefusedError(f"{tenant}: {lines[-1] if lines else 'no reason given'}") from error
    return call


def _run(request: Any, names: tuple[str, ...], inputs: Arrays) -> Arrays:
    results = request.infer(inputs, share_inputs=True, share_outputs=True)
    return {name: results[name] for name in names}
