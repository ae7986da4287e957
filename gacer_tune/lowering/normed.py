"""Lowers a product with constant weights and the normalisation of its rows to one kernel where that is faster."""

from __future__ import annotations

from gacer_tune.kernels import pack
from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.normed import Normed, pays
from gacer_tune.kernels.tensor import ceildiv, dense
from gacer_tune.lowering.context import Epilogue, Lowering, program
from gacer_tune.lowering.fusion import Group
from gacer_tune.lowering.graph import Array
from gacer_tune.lowering.narrow import tiled
from gacer_tune.lowering.rows import read_norm
from gacer_tune.lowering.view import View, flatten


def lower(low: Lowering, group: Group, left: View, matrix: Array, epilogue: Epilogue) -> bool:
    """Emit the kernel; return False, with nothing emitted, where two kernels are better or views are no matrices.

    left (.., k); matrix: the weights (n, k, 1, 1); epilogue: what is done to the product before it is normalised.
    """
    if not isinstance(low.machine, Machine) or tiled(low.machine):
        return False
    nodes, norm = low.graph.nodes, read_norm(low, group.parts[1])
    out = low.output(nodes[group.last].outputs[0])
    flat = flatten([left, out, *epilogue.operands, *norm.epilogue.operands], len(out.shape) - 1)
    if flat is None:
        return False
    first, last, *rest = flat
    before, behind = rest[: len(epilogue.operands)], rest[len(epilogue.operands) :]
    width = low.machine.pack
    weight = dense((ceildiv(matrix.shape[0], width), matrix.shape[1], width))
    product = BatchMatmul(first.tensor, weight, last.tensor, program(epilogue, before), constant=True)
    spec = Normed(product, norm.spec(last.tensor, last.tensor, behind))
    if not pays(spec, low.machine, low.lanes):
        return False
    packed = low.weight(f"{nodes[group.first].name}.weight", pack.conv_weight(matrix, 1, low.machine))
    reads = (first, packed, *before, *norm.factors, *behind)
    low.emit(nodes[group.first].name, "matmul_norm", [low.kernel(spec, reads, last)])
    return True
