"""ONNX Runtime as a peer: its CPU provider with all graph optimisations, in the modes its users choose between.

Its workers spin by default, while they wait for work within a run and for 50 ms after it. With one model that is its
fastest setting. With several, the workers of one model take the cores from the next: two models in turn on two cores
took twice as long as when spinning ends with each run, two at once nearly twice as long as without spinning. So those
modes are there beside the defaults, and the fastest one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MappingProxyType

from gacer_tune.bench.system import Arrays, RefusedError, RunOne, System, Task, all_at_once, one_by_one

NAME = "onnxruntime"
_SPINNING: Mapping[str, str] = MappingProxyType({})
_STOPPING = MappingProxyType({"session.force_spinning_stop": "1"})
_RESTING = MappingProxyType({"session.intra_op.allow_spinning": "0"})


def systems(task: Task, stack: ExitStack) -> list[System]:
    """Raises RefusedError for a model it cannot load."""
    lanes = len(task.cpus)
    in_turn = {
        "sequential": _sessions(task, lanes, _SPINNING),
        "sequential, spinning in runs only": _sessions(task, lanes, _STOPPING),
    }
    made = [System(f"{NAME} {mode}", NAME, one_by_one(runs)) for mode, runs in in_turn.items()]
    if len(task.models) == 1:
        return made
    at_once = {
        "parallel, 1 thread each": _sessions(task, 1, _SPINNING),
        "parallel, default threads": _sessions(task, task.default_threads, _SPINNING),
        "parallel, no spinning": _sessions(task, lanes, _RESTING),
    }
    return made + [System(f"{NAME} {mode}", NAME, all_at_once(runs, stack)) for mode, runs in at_once.items()]


def _sessions(task: Task, threads: int, entries: Mapping[str, str]) -> dict[str, RunOne]:
    """A session for each tenant; 0 threads: its own default."""
    return {tenant: _session(task, tenant, threads, entries) for tenant in task.models}


def _session(task: Task, tenant: str, threads: int, entries: Mapping[str, str]) -> RunOne:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    with refusing(tenant):
        session = onnxruntime.InferenceSession(task.models[tenant], options, providers=["CPUExecutionProvider"])
        call = partial(_run, session, list(task.outputs[tenant]), dict(task.inputs[tenant]))
        call()
    return call


@contextmanager
def refusing(tenant: str) -> Iterator[None]:
    """What ONNX Runtime raises of a model, as RefusedError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    refusals = (
        state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented,
        state.RuntimeException,
    )  # fmt: skip
    try:
        yield
    except refusals as error:
        raise RefusedError(f"{tenant}: {str(error).strip().splitlines()[0]}") from error


def _run(session: object, names: list[str], inputs: Arrays) -> Arrays:
    return dict(zip(names, session.run(names, inputs), strict=True))  # type: ignore[attr-defined]
