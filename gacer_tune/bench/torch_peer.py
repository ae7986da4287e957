"""PyTorch as a peer on a GPU: eager, one CUDA graph of all models in turn, and one graph with a stream for each.

The honest rivals of a plan are the graphs: eager PyTorch is mostly waiting for Python. Weights and values are of the
same precision as ours, images lie channels-last, cuDNN picks its algorithms by measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gacer_tune.bench.torch_ops import OPS, SHAPED, require_known
from gacer_tune.lowering.graph import Graph, Node

WARM_UPS = 3  # before a capture: cuDNN measures, libraries allocate


@dataclass
class TorchModel:
    """A canonical graph as PyTorch calls. `run` reads `inputs` and returns the outputs, all on the device."""

    torch: Any
    graph: Graph
    dtype: Any
    inputs: dict[str, Any]
    constants: dict[str, Any]

    def run(self) -> dict[str, Any]:
        values = {name: self._cast(x) for name, x in self.inputs.items()}
        for node in self.graph.nodes:
            made = self._call(node, values)
            outputs = made if isinstance(made, (tuple, list)) else (made,)
            values.update(zip(node.outputs, outputs, strict=False))
        return {name: values[name].float() for name in self.graph.outputs}

    def _call(self, node: Node, values: Mapping[str, Any]) -> Any:
        if node.op in SHAPED:
            return values[node.inputs[0]].reshape(self.graph.shapes[node.outputs[0]])
        given = [values[name] if name in values else self.constants[name] for name in node.inputs if name]
        return OPS[node.op](self.torch, node, given)

    def _cast(self, x: Any) -> Any:
        if not x.is_floating_point():
            return x
        x = x.to(self.dtype)
        return x.contiguous(memory_format=self.torch.channels_last) if x.dim() == 4 else x


def torch_model(torch: Any, graph: Graph, inputs: Mapping[str, Any], precision: str) -> TorchModel:
    """The graph with its constants on the GPU. Raises RefusedError for operators that are not known here."""
    require_known(graph)
    dtype = torch.float16 if precision == "fp16" else torch.float32
    shaping = {name for node in graph.nodes if node.op in ("Slice", "Split", "Clip") for name in node.inputs[1:]}
    constants: dict[str, Any] = {}
    for name, array in graph.constants.items():
        if name in shaping:
            constants[name] = np.asarray(array).reshape(-1).tolist()
            continue
        tensor = torch.from_numpy(np.array(array)).cuda()
        tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
        channels_last = tensor.dim() == 4
        constants[name] = tensor.contiguous(memory_format=torch.channels_last) if channels_last else tensor
    return TorchModel(
        torch, graph, dtype, {n: torch.from_numpy(np.array(a)).cuda() for n, a in inputs.items()}, constants
    )


def prepare(torch: Any, precision: str) -> None:
    """Settings for the whole process."""
    torch.backends.cudnn.benchmark = True
    allowed = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


Run = Callable[[], Any]


def modes(torch: Any, models: list[TorchModel]) -> dict[str, tuple[Run, list[dict[str, Any]]]]:
    """By name a call that runs all models once without waiting for the GPU, and the outputs that it fills."""
    with torch.no_grad():
        for model in models:
            for _ in range(WARM_UPS):
                model.run()
        torch.cuda.synchronize()
        outputs = [model.run() for model in models]
        found: dict[str, tuple[Run, list[dict[str, Any]]]] = {"torch eager": (_eager(torch, models), outputs)}
        found["torch graph"] = _captured(torch, models, [None] * len(models))
        if len(models) > 1:
            found["torch streams"] = _captured(torch, models, [torch.cuda.Stream() for _ in models])
    return found


def _eager(torch: Any, models: list[TorchModel]) -> Run:
    def run() -> None:
        with torch.no_grad():
            for model in models:
                model.run()

    return run


def _captured(torch: Any, models: list[TorchModel], streams: list[Any]) -> tuple[Run, list[dict[str, Any]]]:
    """One graph; a model with a stream of its own is forked from the captured one and joined to it."""
    graph, outputs = torch.cuda.CUDAGraph(), []
    with torch.cuda.graph(graph):
        main = torch.cuda.current_stream()
        for model, stream in zip(models, streams, strict=True):
            if stream is None:
                outputs.append(model.run())
                continue
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                outputs.append(model.run())
        for stream in streams:
            if stream is not None:
                main.wait_stream(stream)
    return graph.replay, outputs
