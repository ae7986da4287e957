"""Random graphs compute the same after simplification, whatever the rules make of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from gacer_tune.frontend.inference import require_static
from gacer_tune.frontend.shapes import fix_shapes
from gacer_tune.frontend.simplify import simplify
from tests.support.build import Array, difference, model, node, op_types, random_inputs

Shape = tuple[int, ...]


@dataclass
class Draft:
    """A graph that grows: values with their shapes, and a source of choices."""

    data: st.DataObject
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def pick(self, *options: object) -> object:
        return self.data.draw(st.sampled_from(options))

    def constant(self, value: Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def floats(self, *shape: int) -> str:
        return self.constant(self.rng.uniform(0.3, 1.2, shape).astype(np.float32))

    def op(self, op_type: str, inputs: list[str], shape: Shape, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(op_type, inputs, [name], **attributes))
        self.shapes[name] = shape
        return name


def unary(draft: Draft, x: str, shape: Shape) -> None:
    draft.op(str(draft.pick("Relu", "Sigmoid", "Tanh", "Neg", "Identity", "Dropout", "Softsign")), [x], shape)


def with_constant(draft: Draft, x: str, shape: Shape) -> None:
    channels = (shape[1], *(1 for _ in shape[2:])) if len(shape) > 1 else ()
    other = draft.floats(*draft.pick((), shape[-1:], shape, channels))
    operands = [x, other] if draft.pick(True, False) else [other, x]
    draft.op(str(draft.pick("Add", "Mul", "Sub", "Div" if operands[0] == x else "Add")), operands, shape)


def of_two(draft: Draft, x: str, shape: Shape) -> None:
    other = draft.pick(*(name for name, found in draft.shapes.items() if found == shape))
    draft.op(str(draft.pick("Add", "Mul", "Sub", "Sum", "Max")), [x, str(other)], shape)


def gate(draft: Draft, x: str, shape: Shape) -> None:
    function = draft.op(str(draft.pick("Sigmoid", "HardSigmoid", "Tanh")), [x], shape)
    draft.op("Mul", [x, function], shape)


def transpose(draft: Draft, x: str, shape: Shape) -> None:
    perm = draft.data.draw(st.permutations(range(len(shape))))
    draft.op("Transpose", [x], tuple(shape[axis] for axis in perm), perm=list(perm))


def reshape(draft: Draft, x: str, shape: Shape) -> None:
    total = int(np.prod(shape))
    target = draft.pick((total,), (1, total), (*shape, 1), (shape[0], total // shape[0]), shape[::-1])
    open_dim = draft.data.draw(st.integers(0, len(target) - 1))
    written = [-1 if index == open_dim else dim for index, dim in enumerate(target)]
    draft.op("Reshape", [x, draft.constant(np.asarray(written, np.int64))], tuple(target))


def squeeze(draft: Draft, x: str, shape: Shape) -> None:
    axis = draft.data.draw(st.integers(0, len(shape)))
    wider = draft.op("Unsqueeze", [x, draft.constant(np.asarray([axis]))], (*shape[:axis], 1, *shape[axis:]))
    if draft.pick(True, False):
        draft.op("Squeeze", [wider, draft.constant(np.asarray([axis]))], shape)


def piece(draft: Draft, x: str, shape: Shape) -> None:
    axis = draft.data.draw(st.integers(0, len(shape) - 1))
    start = draft.data.draw(st.integers(0, shape[axis] - 1))
    limits = [draft.constant(np.asarray([number])) for number in (start, 2**40, axis)]
    draft.op("Slice", [x, *limits], (*shape[:axis], shape[axis] - start, *shape[axis + 1 :]))


def twice(draft: Draft, x: str, shape: Shape) -> None:
    axis = draft.data.draw(st.integers(0, len(shape) - 1))
    draft.op("Concat", [x, x], (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]), axis=axis)


def product(draft: Draft, x: str, shape: Shape) -> None:
    if len(shape) > 1:
        draft.op("MatMul", [x, draft.floats(shape[-1], 3)], (*shape[:-1], 3))


def gemm(draft: Draft, x: str, shape: Shape) -> None:
    if len(shape) == 2:
        trans = draft.data.draw(st.integers(0, 1))
        weight = draft.floats(3, shape[1]) if trans else draft.floats(shape[1], 3)
        draft.op("Gemm", [x, weight, draft.floats(3)], (shape[0], 3), transB=trans, alpha=0.5)


def convolution(draft: Draft, x: str, shape: Shape) -> None:
    if len(shape) > 2:
        kernel = [1] * (len(shape) - 2)
        draft.op("Conv", [x, draft.floats(2, shape[1], *kernel)], (shape[0], 2, *shape[2:]))


def norm(draft: Draft, x: str, shape: Shape) -> None:
    if len(shape) > 1:
        draft.op("BatchNormalization", [x, *(draft.floats(shape[1]) for _ in range(4))], shape)


def mean(draft: Draft, x: str, shape: Shape) -> None:
    draft.op("ReduceMean", [x], (*shape[:-1], 1), axes=[-1])


STEPS: tuple[Callable[[Draft, str, Shape], None], ...] = (
    *(unary, with_constant, with_constant, of_two, gate, transpose, reshape, squeeze, piece, twice),
    *(product, gemm, convolution, norm, norm, mean),
)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_random_graphs_compute_the_same(data: st.DataObject) -> None:
    draft = Draft(data, np.random.default_rng(0))
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    draft.shapes["x"] = shape
    for _ in range(data.draw(st.integers(1, 10))):
        x = str(draft.pick(*list(draft.shapes)[-3:]))
        if np.prod(draft.shapes[x]) < 4096:
            data.draw(st.sampled_from(STEPS))(draft, x, draft.shapes[x])
    made = [name for name in draft.shapes if name != "x"]
    if not made:
        return
    outputs = sorted({made[-1], *data.draw(st.lists(st.sampled_from(made), max_size=2))})
    built = model(draft.nodes, {"x": shape}, outputs, draft.constants)
    fix_shapes(built, {})
    simple = simplify(built)
    assert not {"BatchNormalization", "Sum", "Dropout"} & set(op_types(simple))
    require_static(simple)
    onnx.checker.check_model(simple)
    feeds = random_inputs(built)
    assert difference(built, simple, feeds) <= 1e-3
