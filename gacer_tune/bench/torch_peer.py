"""PyTorch as a peer on a GPU: eager, one CUDA graph of all models in turn, and one graph with a stream for each.

The honest rivals of a plan are the graphs: eager PyTorch is mostly waiting for Python. Weights and values are of the
same precision as ours (fp16: stored so, not by autocast, which would cast in each run), what PyTorch has one call for
is one call, cuDNN picks among all its algorithms by measuring, and images lie channels-last or not, as is faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gacer_tune.bench.torch_calls import as_written
from gacer_tune.bench.torch_ops import OPS, SHAPED, require_known
from gacer_tune.lowering.graph import Graph, Node

WARM_UPS = 3  # before a capture, on the streams that it will use: cuDNN measures, libraries allocate
LOOKS = 5  # at each layout
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass
class TorchModel:
    """A canonical graph as PyTorch calls. `run` reads `inputs` and returns the outputs, all on the device."""

    torch: Any
    graph: Graph
    dtype: Any
    inputs: dict[str, Any]
    constants: dict[str, Any]
    channels_last: bool

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
        """One kernel at most."""
        if not x.is_floating_point():
            return x
        return x.to(self.dtype, **_format(self.torch, x, self.channels_last))


def _format(torch: Any, x: Any, channels_last: bool) -> dict[str, Any]:
    return {"memory_format": torch.channels_last} if channels_last and x.dim() == 4 else {}


def torch_model(
    torch: Any, graph: Graph, inputs: Mapping[str, Any], precision: str, channels_last: bool = True
) -> TorchModel:
    """The graph with its constants on the GPU. Raises RefusedError for operators that are not known here."""
    require_known(graph)
    graph = as_written(graph)
    dtype = torch.float16 if precision == "fp16" else torch.float32
    shaping = {name for node in graph.nodes if node.op in ("Slice", "Split", "Clip") for name in node.inputs[1:]}
    kernels = {node.inputs[1] for node in graph.nodes if node.op in _CONVOLUTIONS}
    constants: dict[str, Any] = {}
    for name, array in graph.constants.items():
        if name in shaping:
            constants[name] = np.asarray(array).reshape(-1).tolist()
            continue
        tensor = torch.from_numpy(np.array(array)).cuda()
        if tensor.is_floating_point():
            tensor = tensor.to(dtype, **_format(torch, tensor, channels_last and name in kernels))
        constants[name] = tensor
    given = {name: torch.from_numpy(np.array(array)).cuda() for name, array in inputs.items()}
    return TorchModel(torch, graph, dtype, given, constants, channels_last)


def prepare(torch: Any, precision: str) -> None:
    """Settings for the whole process."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 0  # all of its algorithms, not the first ten
    allowed = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


Run = Callable[[], Any]


def fastest_layout(torch: Any, layouts: Sequence[TorchModel], seconds: Callable[[Run], float]) -> TorchModel:
    """Of one model in several layouts, the one whose CUDA graph is the fastest alone."""
    if not any(node.op in _CONVOLUTIONS for node in layouts[0].graph.nodes):
        return layouts[0]
    times = []
    for model in layouts:
        with torch.inference_mode():
            run, _ = _captured(torch, [model], [None])
        times.append(statistics.median([seconds(run) for _ in range(LOOKS + 1)][1:]))
    return layouts[times.index(min(times))]


def modes(torch: Any, models: list[TorchModel]) -> dict[str, tuple[Run, list[dict[str, Any]]]]:
    """By name a call that runs all models once without waiting for the GPU, and the outputs that it fills."""
    with torch.inference_mode():
        _warm_up(torch, models, [None] * len(models))
        outputs = [model.run() for model in models]
        found: dict[str, tuple[Run, list[dict[str, Any]]]] = {"torch eager": (_eager(torch, models), outputs)}
        found["torch graph"] = _captured(torch, models, [None] * len(models))
        if len(models) > 1:
            found["torch streams"] = _captured(torch, models, [torch.cuda.Stream() for _ in models])
    return found


def _eager(torch: Any, models: list[TorchModel]) -> Run:
    def run() -> None:
        with torch.inference_mode():
            for model in models:
                model.run()

    return run


def _warm_up(torch: Any, models: list[TorchModel], streams: list[Any]) -> None:
    """On streams beside the current one, as PyTorch's notes on CUDA graphs want it."""
    main = torch.cuda.current_stream()
    for model, stream in zip(models, streams, strict=True):
        side = stream or torch.cuda.Stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                model.run()
        main.wait_stream(side)
    torch.cuda.synchronize()


def _captured(torch: Any, models: list[TorchModel], streams: list[Any]) -> tuple[Run, list[dict[str, Any]]]:
    """One graph; a model with a stream of its own is forked from the captured one and joined to it."""
    _warm_up(torch, models, streams)
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
