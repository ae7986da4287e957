"""The builder of models: shapes, channel counts, weights, and the sizes it refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.graph
from models import MODELS
from models.builder import Builder, Window
from models.transformer import Encoder


def test_long_tensors_repeat_without_equal_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.graph, "NORMALS_PER_TENSOR", 101)
    raw = models.graph.draw(models.graph.Weight("w", (30, 10), 2.0), (0, 0))
    rows = np.frombuffer(raw, "<f4").reshape(30, 10)
    assert len(np.unique(rows, axis=0)) == 30
    assert rows.flat[101] == rows.flat[0]
    assert 1.5 < rows.std() < 2.5


@st.composite
def _pools(draw: st.DrawFn) -> tuple[Window, tuple[int, int]]:
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = draw(st.integers(1, min(kernel)))
    ceil = draw(st.booleans())
    pad = 0 if ceil else draw(st.sampled_from([None, 0, (0, 0, kernel[0] - 1, kernel[1] - 1)]))
    return Window(kernel, stride, pad, ceil), (draw(st.integers(4, 11)), draw(st.integers(4, 11)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_pools())
def test_window_agrees_with_onnxruntime(case: tuple[Window, tuple[int, int]]) -> None:
    window, image = case
    g = Builder("pool", seed=0)
    pooled = g.max_pool(g.input("input", (1, 2, *image)), window)
    model = g.model({"output": pooled})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(["output"], {"input": np.zeros((1, 2, *image), np.float32)})[0]
    assert result.shape == g.shape(pooled) == (1, 2, *window.positions(image))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4096), st.floats(0.01, 3))
def test_channels_are_published_at_width_one_and_else_near_a_multiple_of_four(published: int, width: float) -> None:
    assert Builder("any", 0).channels(published) == published
    scaled = Builder("any", 0, width).channels(published)
    assert scaled >= 4 or width == 1
    assert width == 1 or scaled % 4 == 0
    assert abs(scaled - published * width) <= 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(MODELS["unet"], resolution=40), "unet: resolution 40, a multiple of 16 is needed"),
        (partial(MODELS["vit_tiny"], resolution=100), "vit: resolution 100, a multiple of 16 is needed"),
        (partial(MODELS["alexnet"], resolution=32), "image of 1 x 1, at least the window (3, 3) is needed"),
        (
            partial(MODELS["tiny_mlp"], batch=0),
            "tiny_mlp.input: shape (0, 64), every dimension must be at least 1",
        ),
        (partial(Encoder, 1, 10, 3), "hidden 10 with 3 heads, a multiple of the heads is needed"),
    ],
)
def test_impossible_size_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message


def test_split_into_unequal_parts_is_refused() -> None:
    g = Builder("net", seed=0)
    x = g.input("input", (1, 5))
    with pytest.raises(ValueError, match=r"^net\.input: 5 channels cannot be split into 2 equal parts$"):
        g.split(x, 2, 1)
