"""The classic CNNs that onnx ships without weights, given seeded random ones.

The files make every weight with ConstantOfShape from a constant shape. Each such node becomes an initializer here, with
values for which activations neither vanish nor overflow. The hidden layers of AlexNet, VGG and ZFNet have 4096 units in
their classifiers, 400 MB of weights; here they have 128, everything else is as in the files.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = tuple(sorted(path.stem.removeprefix("light_") for path in FOLDER.glob("light_*.onnx")))
_HIDDEN, _SMALL_HIDDEN = 4096, 128


def light_models() -> dict[str, onnx.ModelProto]:
    """All of them by name, such as "resnet50"; 350 MB together."""
    return {name: light_model(name) for name in NAMES}


@cache
def light_model(name: str) -> onnx.ModelProto:
    """One of them; the same object each time, do not change it."""
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    graph = model.graph
    shapes = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    summed = {used for node in graph.node if node.op_type == "Sum" for used in node.input}
    users = {used: (node, index) for node in graph.node for index, used in enumerate(node.input)}
    weights: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shape = tuple(_SMALL_HIDDEN if dim == _HIDDEN else int(dim) for dim in shapes[node.input[0]])
            output = node.output[0]
            rng = np.random.default_rng(zlib.crc32(f"{name}/{output}".encode()))
            user, index = users[output]
            role = "residual" if user.output[0] in summed else user.op_type
            weights[output] = numpy_helper.from_array(_values(rng, shape, role, index), output)
    kept = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    used = {used for node in kept for used in node.input}
    del graph.node[:]
    graph.node.extend(kept)
    _keep_constants(graph, used)
    graph.initializer.extend(item for item in weights.values() if item.name in used)
    del graph.value_info[:]
    model.ir_version = 8
    return model


def _values(rng: np.random.Generator, shape: tuple[int, ...], role: str, index: int) -> npt.NDArray[np.float32]:
    """Random values fit for the input `index` of an operator, or of a normalisation that ends a residual branch."""
    if role == "residual" and index == 1:
        return rng.uniform(0.1, 0.4, shape).astype(np.float32)  # else each block would double the variance
    if (role in ("BatchNormalization", "residual") and index in (1, 4)) or role == "Unsqueeze":
        return rng.uniform(0.55, 1.35, shape).astype(np.float32)  # scales and variances
    if len(shape) < 2:
        return rng.uniform(-0.2, 0.2, shape).astype(np.float32)
    values = rng.standard_normal(shape, np.float32)
    values *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return values


def _keep_constants(graph: onnx.GraphProto, used: set[str]) -> None:
    """Drop the shapes of the weights and the inputs that only declare constants."""
    names = {item.name for item in graph.initializer}
    initializers = [item for item in graph.initializer if item.name in used]
    inputs = [item for item in graph.input if item.name not in names]
    del graph.initializer[:], graph.input[:]
    graph.initializer.extend(initializers)
    graph.input.extend(inputs)
