"""What ONNX Runtime's own profiler says of the nodes of a model, by the ops that we have in their place."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gacer_tune.bench.system import Array

if TYPE_CHECKING:
    import onnx

RUNS, WARM_UPS = 9, 3
_MARK = "_kernel_time"


def node_seconds(model: bytes, inputs: Mapping[str, Array], threads: int) -> dict[str, float]:
    """Median wall seconds of each node, by its name after ONNX Runtime's fusions. Raises what ONNX Runtime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.enable_profiling = 3, True
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory(prefix="gacer-tune-") as folder:
        options.profile_file_prefix = str(Path(folder) / "nodes")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for _ in range(WARM_UPS + RUNS):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    took: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_MARK):
            took.setdefault(event["name"].removesuffix(_MARK), []).append(event["dur"] / 1e6)
    return {name: statistics.median(seconds[WARM_UPS:]) for name, seconds in took.items()}


def by_op(model: onnx.ModelProto, ops: Collection[str], nodes: Mapping[str, float]) -> dict[str, float]:
    """Seconds of the nodes that belong to each op, of ops that have any.

    A fused node has the name, and more behind it, of one of those that it was made of or of what that one makes; those
    that come from a node without an op of ours belong to the last op before it, which has it fused.
    """
    owners = _owners(model, ops)
    found: dict[str, float] = {}
    for name, seconds in nodes.items():
        owner = owners.get(_original(name, owners), "")
        if owner:
            found[owner] = found.get(owner, 0.0) + seconds
    return found


def _owners(model: onnx.ModelProto, ops: Collection[str]) -> dict[str, str]:
    """Node or value -> op; empty where no op comes before it. Nodes are in topological order, and so are ops."""
    number = {name: position for position, name in enumerate(ops)}
    makers: dict[str, str] = {}  # value -> op
    owners: dict[str, str] = {}
    for node in model.graph.node:
        before = [makers[value] for value in node.input if makers.get(value)]
        owner = node.name if node.name in number else max(before, key=lambda op: number[op], default="")
        owners[node.name] = owner
        makers.update(dict.fromkeys(filter(None, node.output), owner))
    return makers | owners


def _original(name: str, known: Collection[str]) -> str:
    """`relu_0_nchwc` -> `relu_0`: the longest known name that it begins with; else the text itself."""
    if name in known:
        return name
    ends = [end for end, letter in enumerate(name) if not letter.isalnum() and name[:end] in known]
    return name[: ends[-1]] if ends else name
