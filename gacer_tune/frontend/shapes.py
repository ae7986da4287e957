"""Fixed shapes: the user's shapes and batch go into the inputs, everything else follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TypeAlias

import onnx
from onnx import TensorProto, ValueInfoProto

from gacer_tune.errors import UserError
from gacer_tune.frontend.graph import Graph, Uses, static_dims
from gacer_tune.frontend.inference import declare_types, forget_types, infer_types
from gacer_tune.frontend.limits import check_dims
from gacer_tune.frontend.nodes import attribute

Dims: TypeAlias = tuple[int, ...]
OpenDims: TypeAlias = "tuple[int | str, ...]"  # a symbol where the model has one, "" where it says nothing

_INTEGERS = frozenset(
    (
        *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
        *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
    )
)
_KEEPS_VALUES = frozenset(
    (
        "Cast",
        "Reshape",
        "Unsqueeze",
        "Squeeze",
        "Flatten",
        "Identity",
        "Transpose",
        "Slice",
        "Expand",
        "Split",
        "Gather",
    )
)


def fix_shapes(model: onnx.ModelProto, shapes: Mapping[str, Dims], batch: int | None = None) -> None:
    """Give every input a static shape and infer the rest, in place. Values the inference cannot reach stay undeclared.

    `shapes` (input -> dims) wins over symbols; a symbol it fixes is fixed in the inputs not mentioned, too. `batch`
    then replaces each symbolic first dimension or, if no input has one, the fixed first dimension all inputs share.
    """
    names = [item.name for item in model.graph.input]
    for name in shapes:
        if name not in names:
            raise UserError(f"no input {name!r}, the inputs are: {', '.join(names)}")
    declared = {item.name: _declared_dims(item) for item in model.graph.input}
    given = {name: _apply_shape(name, declared[name], dims) for name, dims in shapes.items()}
    symbols = _symbols(declared, given)
    wanted: dict[str, OpenDims | None] = {
        name: given.get(name, dims and tuple(symbols.get(dim, dim) if isinstance(dim, str) else dim for dim in dims))
        for name, dims in declared.items()
    }
    followed = _batch_dims(wanted) if batch is not None else frozenset()
    if batch is not None:
        wanted = _apply_batch(wanted, followed, given, batch)
    for item in model.graph.input:
        _declare(item, _require_fixed(item.name, wanted[item.name]))
    before = {item.name: _open_dims(item) for item in model.graph.output}
    _infer(model, shapes, batch)
    for item in model.graph.output:
        old, new = before[item.name], static_dims(item)
        # What should have followed the batch and did not was reshaped by constants inside: its rows are mixed up.
        if old and new and old[0] in followed and new[0] != batch:
            text = "x".join(str(dim) for dim in new)
            raise UserError(
                f"batch {batch} does not fit, the model fixes its batch inside: output {item.name!r} is {text}"
            )


def _declared_dims(item: ValueInfoProto) -> OpenDims | None:
    """The input's dimensions, None if it declares no rank."""
    if not item.type.HasField("tensor_type"):
        kind = (item.type.WhichOneof("value") or "value without a type").removesuffix("_type")
        raise UserError(f"input {item.name!r} is a {kind}, only tensors are supported")
    return _open_dims(item)


def _open_dims(item: ValueInfoProto) -> OpenDims | None:
    if not item.type.tensor_type.HasField("shape"):
        return None
    dims = item.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims)


def _apply_shape(name: str, declared: OpenDims | None, dims: Dims) -> Dims:
    """The user's shape, checked against what the model says about the input."""
    text = "x".join(str(dim) for dim in dims)
    if any(dim < 1 for dim in dims):
        raise UserError(f"input {name!r}: shape {text} was given, every dimension must be at least 1")
    check_dims(f"input {name!r}", dims)
    if declared is None:
        return dims
    if len(declared) != len(dims):
        raise UserError(f"input {name!r}: shape {text} has {len(dims)} dimensions, the model has {len(declared)}")
    for index, (fixed, dim) in enumerate(zip(declared, dims, strict=True)):
        if isinstance(fixed, int) and fixed > 0 and fixed != dim:
            hint = ", use the batch option to change a fixed batch" if index == 0 else ""
            raise UserError(f"input {name!r}: dimension {index} is {fixed} in the model, {dim} was given{hint}")
    return dims


def _symbols(declared: Mapping[str, OpenDims | None], given: Mapping[str, Dims]) -> dict[str, int]:
    """Values of the symbols that the given shapes fix; a symbol that got two values is left open."""
    found: dict[str, set[int]] = {}
    for name, dims in given.items():
        for symbol, dim in zip(declared[name] or (), dims, strict=False):
            if isinstance(symbol, str) and symbol:
                found.setdefault(symbol, set()).add(dim)
    return {symbol: values.pop() for symbol, values in found.items() if len(values) == 1}


def _batch_dims(wanted: Mapping[str, OpenDims | None]) -> frozenset[int | str]:
    """The first dimensions that a batch replaces: the symbolic ones, else all."""
    firsts = {dims[0] for dims in wanted.values() if dims}
    return frozenset({first for first in firsts if isinstance(first, str)} or firsts)


def _apply_batch(
    wanted: Mapping[str, OpenDims | None], followed: Set[int | str], given: Mapping[str, Dims], batch: int
) -> dict[str, OpenDims | None]:
    if batch < 1:
        raise UserError(f"batch {batch} was given, it must be at least 1")
    fixed = all(isinstance(first, int) for first in followed)
    if fixed and len(followed) != 1:
        text = ", ".join(f"{name}: {dims[0]}" for name, dims in wanted.items() if dims) or "none has dimensions"
        raise UserError(f"batch {batch} was given, but the inputs have no common first dimension ({text})")
    for name, shape in given.items():
        if fixed and shape and shape[0] != batch:
            raise UserError(
                f"input {name!r}: shape {'x'.join(map(str, shape))} and batch {batch} contradict each other"
            )
    changed: dict[str, OpenDims | None] = {}
    for name, dims in wanted.items():
        if dims is None:
            changed[name] = None
            continue
        first: OpenDims = (batch,) if dims and dims[0] in followed else dims[:1]
        rest = (batch if dim and not fixed and dim in followed else dim for dim in dims[1:])
        changed[name] = (*first, *rest)
    return changed


def _require_fixed(name: str, dims: OpenDims | None) -> Dims:
    if dims is None:
        raise UserError(f"input {name!r} has no shape in the model; give one, as in --shape NAME:{name}=1x3x224x224")
    fixed: list[int] = []
    example = "x".join(str(dim) if isinstance(dim, int) and dim > 0 else "1" for dim in dims)
    for index, dim in enumerate(dims):
        if isinstance(dim, int) and dim > 0:
            fixed.append(dim)
            continue
        state = f"symbolic ({dim!r})" if isinstance(dim, str) and dim else f"{dim}" if dim != "" else "unknown"
        raise UserError(
            f"input {name!r}: dimension {index} is {state}; give its shape, as in --shape NAME:{name}={example}"
        )
    check_dims(f"input {name!r}", fixed)
    return tuple(fixed)


def _declare(item: ValueInfoProto, dims: Dims) -> None:
    shape = item.type.tensor_type.shape
    shape.SetInParent()
    del shape.dim[:]
    for dim in dims:
        shape.dim.add().dim_value = dim


def _infer(model: onnx.ModelProto, shapes: Mapping[str, Dims], batch: int | None) -> None:
    forget_types(model.graph)
    graph = Graph.of(model)
    try:
        infer_types(graph)
    except UserError as error:
        if batch is not None:
            raise UserError(f"batch {batch} does not fit, the model seems to fix its batch inside: {error}") from None
        if shapes:
            text = ", ".join(f"{name}={'x'.join(map(str, dims))}" for name, dims in shapes.items())
            raise UserError(f"the shapes given ({text}) do not fit the model: {error}") from None
        raise
    declare_types(model, graph.types)


def input_bounds(model: onnx.ModelProto) -> dict[str, int]:
    """For each integer input used as indices of Gather: the exclusive upper bound valid for all tables it reads.

    Inputs are followed through operators that pass values on (Cast, Reshape, Slice, Split and the like).
    """
    graph = Graph.of(model)
    uses = Uses.of(graph)
    integers = {item.name for item in graph.inputs if item.type.tensor_type.elem_type in _INTEGERS}
    source = {name: name for name in integers}
    bounds: dict[str, int] = {}
    for node in graph.nodes:
        if node.op_type in _KEEPS_VALUES and node.input[0] in source:
            source.update(dict.fromkeys(filter(None, node.output), source[node.input[0]]))
        if node.op_type != "Gather" or node.input[1] not in source:
            continue
        table = uses.shape(node.input[0])
        if table:
            name, rows = source[node.input[1]], table[attribute(node, "axis", 0)]
            bounds[name] = min(rows, bounds.get(name, rows))
    return bounds
