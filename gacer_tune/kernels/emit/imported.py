"""Imports ONNX models into TVM: its functions of loops, and the values between them."""

from __future__ import annotations

import base64
import contextlib
import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import Call, GenericConst
from tvm.relax.frontend.onnx import from_onnx

from gacer_tune.kernels.emit.nests import Nest, NotImportedError, split
from gacer_tune.kernels.emit.topk import LEGALIZE
from gacer_tune.kernels.tensor import NBYTES, Tensor, dense

Array = NDArray[Any]
Name = Any  # of a value, or a tuple of names

# What the importer raises for an operator, an attribute or a type it does not know.
IMPORT_FAILURES = (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, AssertionError)


@dataclass(frozen=True, slots=True)
class Imported:
    """Values by name: `i0`, `i1`, ... are the inputs of the model. Nests in the order they run."""

    tensors: dict[str, Tensor]
    constants: dict[str, Array]
    nests: tuple[Nest, ...]
    outputs: tuple[str, ...]


@cache
def imported(model: str) -> Imported:
    """The loops of a serialized ONNX model in base64. Raises NotImportedError."""
    proto = onnx.ModelProto.FromString(base64.b64decode(model))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return _Reader(_functions(proto)).read()
    except IMPORT_FAILURES as error:
        raise NotImportedError(str(error)) from error


def _functions(proto: onnx.ModelProto) -> Any:
    """The model as a relax function that calls functions of loops, elementwise operators fused."""
    module = from_onnx(proto, opset=proto.opset_import[0].version, keep_params_in_input=False)
    passes = [
        relax.transform.DecomposeOpsForInference(),
        relax.transform.LegalizeOps(LEGALIZE),
        relax.transform.FoldConstant(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    return tvm.transform.Sequential(passes)(module)


class _Reader:
    """Reads a relax module whose `main` does nothing but call functions of loops."""

    def __init__(self, module: Any) -> None:
        self.module, self.main = module, module["main"]
        self.tensors: dict[str, Tensor] = {}
        self.constants: dict[str, Array] = {}
        self.nests: list[Nest] = []
        self.names: dict[Any, Name] = {var: self.new("i", var.ty) for var in self.main.params}

    def read(self) -> Imported:
        for binding in (binding for block in self.main.body.blocks for binding in block.bindings):
            value = binding.value
            self.names[binding.var] = self.call(value) if isinstance(value, Call) else self.name(value)
        result = self.name(self.main.body.body)
        outputs = result if isinstance(result, tuple) else (result,)
        return Imported(self.tensors, self.constants, tuple(self.nests), outputs)

    def new(self, prefix: str, like: Any) -> str:
        """Name of a new value with the type of a buffer, a relax tensor or an array."""
        shape, dtype = tuple(int(n) for n in like.shape), str(like.dtype)
        if dtype not in NBYTES:
            raise NotImportedError(f"a tensor of {dtype}")
        name = f"{prefix}{len(self.tensors)}"
        self.tensors[name] = dense(shape, dtype)
        return name

    def name(self, value: Any) -> Name:
        if isinstance(value, GenericConst):
            array = np.asarray(value.value.numpy())
            made = self.new("c", array)
            self.constants[made] = array
            return made
        if isinstance(value, relax.Tuple):
            return tuple(self.name(one) for one in value)
        if isinstance(value, relax.TupleGetItem):
            return self.name(value.tuple_value)[value.index]
        return self.names[value]

    def call(self, call: Any) -> Name:
        if call.op.name != "relax.call_tir" or len(call.args) != 2:
            raise NotImportedError(f"{call.op.name} at run time")
        several = isinstance(call.ty, relax.TupleType)
        made = tuple(self.new("v", one) for one in (call.ty.fields if several else [call.ty]))
        operands = (*(self.name(one) for one in call.args[1]), *made)
        self.nests += split(self.module[call.args[0]], operands, lambda buffer: self.new("t", buffer))
        return made if several else made[0]
