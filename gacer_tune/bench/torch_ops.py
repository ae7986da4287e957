"""The operators of our models as PyTorch has them: what a canonical ONNX graph becomes in the PyTorch peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gacer_tune.bench.system import RefusedError
from gacer_tune.bench.torch_calls import ATTENTION, LINEAR
from gacer_tune.lowering.graph import Graph, Node

Tensor = Any
Op = Callable[[Any, Node, Sequence[Any]], Any]  # (torch, node, inputs; a constant list is a list) -> output(s)


def _window(node: Node) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    """Strides, dilations and pads; RefusedError where begin and end are padded differently."""
    rank = len(node.attributes.get("kernel_shape") or (1, 1))
    pads = list(node.attributes.get("pads") or [0] * 2 * rank)
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise RefusedError(f"{node.name}: {node.op} with auto_pad")
    strides = tuple(node.attributes.get("strides") or [1] * rank)
    return strides, tuple(node.attributes.get("dilations") or [1] * rank), pads


def _padded(torch: Any, x: Tensor, pads: Sequence[int], value: float) -> tuple[Tensor, tuple[int, ...]]:
    """The input and the symmetric padding that is left; what is not symmetric is padded here."""
    rank = len(pads) // 2
    begins, ends = pads[:rank], pads[rank:]
    if begins == ends:
        return x, tuple(begins)
    around = [pad for begin, end in zip(reversed(begins), reversed(ends), strict=True) for pad in (begin, end)]
    return torch.nn.functional.pad(x, around, value=value), (0,) * rank


def _conv(torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
    strides, dilations, pads = _window(node)
    x, padding = _padded(torch, given[0], pads, 0.0)
    call = torch.conv1d if x.dim() == 3 else torch.conv2d
    bias = given[2] if len(given) > 2 else None
    return call(x, given[1], bias, strides, padding, dilations, int(node.attributes.get("group", 1)))


def _conv_transpose(torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
    strides, _, pads = _window(node)
    extra = tuple(node.attributes.get("output_padding") or (0, 0))
    bias = given[2] if len(given) > 2 else None
    return torch.conv_transpose2d(given[0], given[1], bias, strides, tuple(pads[: len(pads) // 2]), extra)


def _pool(kind: str) -> Op:
    def pool(torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
        strides, _, pads = _window(node)
        size, ceil = tuple(node.attributes["kernel_shape"]), bool(node.attributes.get("ceil_mode", 0))
        if kind == "max":
            x, padding = _padded(torch, given[0], pads, float("-inf"))
            return torch.nn.functional.max_pool2d(x, size, strides, padding, 1, ceil)
        counted = bool(node.attributes.get("count_include_pad", 0))
        half = len(pads) // 2
        if pads[:half] != pads[half:]:
            raise RefusedError(f"{node.name}: AveragePool padded differently at begin and end")
        return torch.nn.functional.avg_pool2d(given[0], size, strides, tuple(pads[:half]), ceil, counted)

    return pool


def _gemm(torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
    left = given[0].t() if node.attributes.get("transA", 0) else given[0]
    right = given[1].t() if node.attributes.get("transB", 0) else given[1]
    return torch.addmm(given[2], left, right) if len(given) > 2 else torch.mm(left, right)


def _slice(_torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
    x, starts, ends = given[0], given[1], given[2]
    axes = given[3] if len(given) > 3 else range(len(starts))
    steps = given[4] if len(given) > 4 else [1] * len(starts)
    if any(step < 1 for step in steps):
        raise RefusedError(f"{node.name}: Slice backwards")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        picked = range(x.shape[axis])[slice(start, end if end > -(2**31) else None, step)]
        x = x.narrow(axis, picked.start, max(picked.stop - picked.start, 0))
        x = x[(slice(None),) * (axis % x.dim()) + (slice(None, None, step),)] if step != 1 else x
    return x


def _layer_norm(torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
    bias = given[2] if len(given) > 2 else None
    return torch.nn.functional.layer_norm(
        given[0], given[1].shape, given[1], bias, float(node.attributes.get("epsilon", 1e-5))
    )


def _gather(torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
    axis = int(node.attributes.get("axis", 0)) % given[0].dim()
    picked = torch.as_tensor(given[1], device=given[0].device)
    flat = torch.index_select(given[0], axis, picked.reshape(-1))
    return flat.reshape(given[0].shape[:axis] + tuple(picked.shape) + given[0].shape[axis + 1 :])


def _clip(torch: Any, _node: Node, given: Sequence[Any]) -> Tensor:
    low, high = (float(v[0]) if isinstance(v, list) else v for v in (*given[1:3], None, None)[:2])
    return torch.clamp(given[0], low, high)


def _lrn(torch: Any, node: Node, given: Sequence[Any]) -> Tensor:
    a = node.attributes
    return torch.nn.functional.local_response_norm(
        given[0], int(a["size"]), float(a.get("alpha", 1e-4)), float(a.get("beta", 0.75)), float(a.get("bias", 1.0))
    )


def _functional(name: str) -> Op:
    return lambda torch, _node, given: getattr(torch.nn.functional, name)(given[0])


def _plain(name: str) -> Op:
    return lambda torch, _node, given: getattr(torch, name)(*given)


OPS: Mapping[str, Op] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("avg"),
    "Gemm": _gemm,
    "Slice": _slice,
    "gacer.LayerNorm": _layer_norm,
    "Gather": _gather,
    "Clip": _clip,
    "LRN": _lrn,
    **{op: _plain(name) for op, name in {
        "MatMul": "matmul", "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Sigmoid": "sigmoid",
        "Tanh": "tanh", "Exp": "exp", "Sqrt": "sqrt", "Relu": "relu", "Erf": "erf",
    }.items()},
    LINEAR: lambda t, _, x: t.nn.functional.linear(x[0], x[1].mT, x[2]),
    ATTENTION: lambda t, n, x: t.nn.functional.scaled_dot_product_attention(
        x[0], x[1].mT, x[2], scale=n.attributes["scale"]
    ),
    "gacer.Silu": _functional("silu"),
    "gacer.HardSwish": _functional("hardswish"),
    "gacer.Gelu": lambda t, n, x: t.nn.functional.gelu(x[0], approximate=str(n.attributes.get("approximate", "none"))),
    "LeakyRelu": lambda t, n, x: t.nn.functional.leaky_relu(x[0], float(n.attributes.get("alpha", 0.01))),
    "HardSigmoid": lambda t, n, x: t.clamp(x[0] * float(n.attributes.get("alpha", 0.2)) + 0.5, 0, 1),
    "Softmax": lambda t, n, x: t.softmax(x[0], int(n.attributes.get("axis", -1))),
    "GlobalAveragePool": lambda t, _, x: t.mean(x[0], tuple(range(2, x[0].dim())), keepdim=True),
    "Concat": lambda t, n, x: t.cat(list(x), int(n.attributes["axis"])),
    "Transpose": lambda _, n, x: x[0].permute(*(n.attributes.get("perm") or reversed(range(x[0].dim())))),
    "Split": lambda t, n, x: t.split(x[0], x[1] if len(x) > 1 else x[0].shape[_axis(n)] // len(n.outputs), _axis(n)),
}  # fmt: skip
SHAPED = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})  # the output's shape says all about them


def _axis(node: Node) -> int:
    return int(node.attributes.get("axis", 0))


def require_known(graph: Graph) -> None:
    """Raise RefusedError that names the operators that are not here."""
    unknown = sorted({node.op for node in graph.nodes} - set(OPS) - SHAPED)
    if unknown:
        raise RefusedError(f"{', '.join(unknown)} in PyTorch's place")
