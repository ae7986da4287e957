"""Which operators of a model nothing downstream can lower."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from gacer_tune.errors import UserError
from gacer_tune.frontend.nodes import label, op_name
from gacer_tune.frontend.structure import listing


def unsupported(model: onnx.ModelProto, supported: Collection[str]) -> list[tuple[str, str]]:
    """(operator, node name) of each node whose operator is not in `supported`, in graph order.

    Operators are spelt as `nodes.op_name` does: "Conv", "gacer.Silu".
    """
    return [(op_name(node), label(node)) for node in model.graph.node if op_name(node) not in supported]


def require_supported(model: onnx.ModelProto, supported: Collection[str]) -> None:
    """Raise one UserError that lists all unsupported operators with the names of their nodes."""
    by_operator: dict[str, list[str]] = {}
    for op_type, name in unsupported(model, supported):
        by_operator.setdefault(op_type, []).append(name)
    if by_operator:
        lists = "; ".join(f"{op_type}: {listing(names)}" for op_type, names in sorted(by_operator.items()))
        raise UserError(f"unsupported operators: {lists}")
