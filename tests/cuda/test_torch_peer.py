"""PyTorch as a peer, on a fake that notes what is called: it is to be as fast as it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gacer_tune.bench import torch_peer
from gacer_tune.bench.torch_calls import ATTENTION, LINEAR, as_written
from gacer_tune.bench.torch_peer import fastest_layout, modes, prepare, torch_model
from gacer_tune.lowering.graph import Graph, Node
from tests.cuda.fake_torch import FakeTorch

RNG = np.random.default_rng(0)
CONSTANTS = {
    "w": RNG.standard_normal((8, 8), np.float32), "b": RNG.standard_normal(8, np.float32),
    "wide": RNG.standard_normal((4, 8), np.float32), "root": np.float32(2.5).reshape(()),
}  # fmt: skip
SHAPES = {name: (1, 2, 4, 8) for name in ("x", "v", "made", "h", "y")}
SCORES = {name: (1, 2, 4, 4) for name in ("s", "d", "p")}
KEYS = {"k": (1, 2, 8, 4)}


def graph(*nodes: tuple[str, str], outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Graph:
    """Nodes as ("MatMul x w", "made"); attributes are those of every Softmax."""
    made = tuple(
        Node(
            text.split()[0],
            out,
            tuple(text.split()[1:]),
            (out,),
            dict(attributes) if text.startswith("Softmax") else {},
        )
        for text, out in nodes
    )
    return Graph(made, ("x", "k", "v"), outputs, {**SHAPES, **SCORES, **KEYS}, {}, CONSTANTS, 17)


LAYER = (("MatMul x w", "made"), ("Add made b", "y"))
HEADS = (("MatMul x k", "s"), ("Div s root", "d"), ("Softmax d", "p"), ("MatMul p v", "y"))
INPUTS = {name: RNG.standard_normal(shape, np.float32) for name, shape in {**SHAPES, **KEYS}.items() if name in "xkv"}


def ops(found: Graph) -> list[str]:
    return [node.op for node in found.nodes]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (LAYER, [LINEAR]),
        ((LAYER[0], ("Add b made", "y")), [LINEAR]),
        (HEADS, [ATTENTION]),
        ((HEADS[0], ("Softmax s", "p"), HEADS[3]), [ATTENTION]),
        ((*LAYER[:1], ("Add made b", "h"), ("Relu h", "y")), [LINEAR, "Relu"]),
    ],
)
def test_what_pytorch_has_one_call_for_is_one_call(
    nodes: tuple[tuple[str, str], ...], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same values."""
    given = graph(*nodes)
    assert ops(as_written(given)) == expected
    ours = torch_model(FakeTorch(), given, INPUTS, "fp32").run()["y"]
    monkeypatch.setattr(torch_peer, "as_written", lambda found: found)
    assert np.allclose(ours, torch_model(FakeTorch(), given, INPUTS, "fp32").run()["y"], atol=1e-5)


@pytest.mark.parametrize(
    "given",
    [
        graph(LAYER[0], ("Add made wide", "y")),
        graph(*LAYER, ("Relu made", "h"), outputs=("y", "h")),
        graph(*LAYER, outputs=("y", "made")),
        graph(("MatMul w x", "made"), ("Add made b", "y")),
        graph(*HEADS, axis=1),
        graph(*HEADS, ("Relu p", "h"), outputs=("y", "h")),
        graph(*HEADS, outputs=("y", "s")),
    ],
)
def test_what_is_read_elsewhere_or_is_something_else_stays(given: Graph) -> None:
    assert as_written(given).nodes == given.nodes


def test_captures_come_behind_warm_ups_on_the_same_streams() -> None:
    """Beside the default stream, without autograd; streams are forked from the captured one and joined to it."""
    torch = FakeTorch()
    given = graph(("MatMul x w", "y"))
    models = [torch_model(torch, given, INPUTS, "fp16") for _ in range(2)]
    found = modes(torch, models)
    assert list(found) == ["torch eager", "torch graph", "torch streams"]
    products = [line for line in torch.log if line.startswith("product")]
    assert all("inferring" in line for line in products)
    *_, second = [number for number, line in enumerate(torch.log) if line == "capture"]
    captured = torch.log[second : torch.log.index("end", second)]
    sides = [line.split(" on ")[1].split(" inf")[0] for line in captured if line.startswith("product")]
    assert captured == [
        "capture",
        *(f"{sides[0]} waits for captured", f"product on {sides[0]} inferring captured"),
        *(f"{sides[1]} waits for captured", f"product on {sides[1]} inferring captured"),
        *(f"captured waits for {side}" for side in sides),
    ]
    for side in sides:
        before = torch.log[:second]
        assert before.count(f"product on {side} inferring") == torch_peer.WARM_UPS
        assert before.index(f"{side} waits for main") < before.index(f"product on {side} inferring")
    assert torch.log[second - 1] == "synchronize"
    torch.log.clear()
    found["torch eager"][0]()
    assert torch.log == ["product on main inferring"] * 2


def test_inputs_become_halves_channels_last_in_one_step() -> None:
    """Weights of convolutions too, once and for all; other constants of four axes stay as they are."""
    nodes = (("Conv x kernel", "made"), ("Add made plane", "y"))
    given = graph(*nodes)
    constants = {"kernel": np.zeros((3, 2, 1, 1), np.float32), "plane": np.zeros((1, 2, 4, 8), np.float32)}
    given = Graph(given.nodes, ("x",), ("y",), given.shapes, {}, constants, 17)
    for last, expected in ((True, "channels_last"), (False, "")):
        model = torch_model(FakeTorch(), given, {"x": INPUTS["x"]}, "fp16", last)
        cast = model._cast(model.inputs["x"])
        assert (cast.dtype, cast.format) == (np.float16, expected)
        found = {name: (array.dtype, array.format) for name, array in model.constants.items()}
        assert found == {"kernel": (np.float16, expected), "plane": (np.float16, "")}


def test_the_faster_layout_is_taken() -> None:
    torch = FakeTorch()
    torch.conv2d = lambda x, w, *_: x * w.sum()  # type: ignore[attr-defined]
    given = graph(("Conv x kernel", "y"))
    given = Graph(given.nodes, ("x",), ("y",), given.shapes, {}, {"kernel": np.ones((1, 1, 1, 1), np.float32)}, 17)
    layouts = [torch_model(torch, given, {"x": INPUTS["x"]}, "fp16", last) for last in (True, False)]
    for times in ([3.0, 1.0], [1.0, 3.0]):
        waiting = [seconds for seconds in times for _ in range(torch_peer.LOOKS + 1)]
        chosen = fastest_layout(torch, layouts, lambda _, waiting=waiting: waiting.pop(0))  # type: ignore[misc]
        assert chosen is layouts[times.index(1.0)]
    plain = [torch_model(torch, graph(*LAYER), INPUTS, "fp16", last) for last in (True, False)]
    assert fastest_layout(torch, plain, lambda _: pytest.fail("no layout to choose")) is plain[0]


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True), ("fp16", True)])
def test_settings(precision: str, allowed: bool) -> None:
    torch = FakeTorch()
    prepare(torch, precision)
    assert vars(torch.backends.cudnn) == {"benchmark": True, "benchmark_limit": 0, "allow_tf32": allowed}
    assert torch.backends.cuda.matmul.allow_tf32 is allowed
