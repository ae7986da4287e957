"""PyTorch's calls for every model, computed by PyTorch on the CPU: the fake knows what is called, not what it gives."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from gacer_tune.bench.torch_peer import torch_model
from gacer_tune.lowering.graph import Graph, read_graph
from tests.support.build import Array, random_inputs, run
from tests.support.compiled import canonical
from tests.support.small_models import SMALL

torch = pytest.importorskip("torch")

NOT_ON_A_CPU = {"googlenet": "PyTorch has no average of volumes of float16 there, which its LRN is made of"}


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)


@cache
def given(name: str) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
    """The canonical graph, inputs, and the outputs of ONNX Runtime."""
    model = SMALL[name]()
    feeds = random_inputs(model)
    expected = dict(zip((output.name for output in model.graph.output), run(model, feeds), strict=True))
    return read_graph(canonical(model)), feeds, expected


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp16", 0.03)])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_outputs_are_those_of_onnxruntime(name: str, precision: str, bound: float, channels_last: bool) -> None:
    if precision == "fp16" and name in NOT_ON_A_CPU:
        pytest.skip(NOT_ON_A_CPU[name])
    graph, feeds, expected = given(name)
    with torch.inference_mode():
        found: dict[str, Any] = torch_model(torch, graph, feeds, precision, channels_last).run()
    for output, wanted in expected.items():
        ours = found[output].numpy()
        assert ours.shape == wanted.shape
        assert np.abs(ours - wanted).max() <= bound * np.abs(wanted).max()
