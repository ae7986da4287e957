"""The cases that the ONNX standard ships for its operators: a model each, with inputs and outputs it must give."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests

Array = NDArray[Any]

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")  # those whose data comes with the package
# Aligned corners where the scaled extent is no whole number: the outputs shipped come from that extent, the text
# of the standard and ONNX Runtime take the whole number of elements that there are.
DISPUTED = ("test_resize_downsample_scales_cubic_align_corners", "test_resize_downsample_scales_linear_align_corners")
_EXPANDED = re.compile(r"_expanded(_ver\d+)?$")


@dataclass(frozen=True, slots=True)
class Case:
    """group: the operator under test, `Op/expanded` where it is spelt out in others, or the kind of a whole model."""

    name: str
    group: str
    model: onnx.ModelProto
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    rtol: float
    atol: float


@dataclass(frozen=True, slots=True)
class Form:
    """A case with all its inputs, or with the first one only and the others constants of the model."""

    case: Case
    constant: bool

    def __str__(self) -> str:
        return f"{self.case.name} with constants" if self.constant else self.case.name

    @property
    def feeds(self) -> dict[str, Array]:
        """Values of the inputs that are left, by name."""
        named = dict(zip(_open_inputs(self.case.model), self.case.inputs, strict=True))
        return dict(list(named.items())[:1]) if self.constant else named

    @property
    def model(self) -> onnx.ModelProto:
        """The model as it is to be read."""
        if not self.constant:
            return self.case.model
        made, kept = onnx.ModelProto(), self.feeds
        made.CopyFrom(self.case.model)
        named = zip(_open_inputs(made), self.case.inputs, strict=True)
        made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in named if name not in kept)
        fixed = {item.name for item in made.graph.initializer}
        open_ones = [item for item in made.graph.input if item.name not in fixed]
        del made.graph.input[:]
        made.graph.input.extend(open_ones)
        return made


def _open_inputs(model: onnx.ModelProto) -> list[str]:
    fixed = {item.name for item in model.graph.initializer}
    return [item.name for item in model.graph.input if item.name not in fixed]


def forms(case: Case) -> tuple[Form, ...]:
    """Both ways to ask for it: models have weights, axes and shapes as constants, the cases give them as inputs."""
    return (Form(case, False), Form(case, True)) if len(case.inputs) > 1 else (Form(case, False),)


def cases(only: str = "") -> tuple[list[Case], int]:
    """Cases whose name the expression finds, in order of name, and how many more have values that are no tensors.

    Those in DISPUTED are left out.
    """
    named = [case for kind in KINDS for case in load_model_tests(kind=kind) if re.search(only, case.name)]
    named = [case for case in named if case.name not in DISPUTED]
    single = {case.name: case.model.graph.node[0].op_type for case in named if case.kind == "node" and case.model}
    found = [_read(case, single) for case in named]
    return sorted((case for case in found if case), key=lambda case: case.name), found.count(None)


def _read(test: TestCase, single: dict[str, str]) -> Case | None:
    """None for a case with a value that is no tensor."""
    model = test.model or onnx.load(str(Path(test.model_dir or "") / "model.onnx"))
    if not all(item.type.HasField("tensor_type") for item in (*model.graph.input, *model.graph.output)):
        return None
    inputs, outputs = (test.data_sets or [_stored(Path(test.model_dir or ""))])[0]
    whole = _EXPANDED.sub("", test.name)
    group = test.kind if test.kind != "node" else single[test.name]
    if test.kind == "node" and whole != test.name:
        group = f"{single.get(whole, group)}/expanded"
    return Case(test.name, group, model, _arrays(inputs), _arrays(outputs), test.rtol, test.atol)


def _stored(folder: Path) -> tuple[Sequence[TensorProto], Sequence[TensorProto]]:
    first = folder / "test_data_set_0"
    inputs, outputs = (list(_tensors(first, side)) for side in ("input", "output"))
    return inputs, outputs


def _tensors(folder: Path, side: str) -> Iterator[TensorProto]:
    for number in range(len(list(folder.glob(f"{side}_*.pb")))):
        yield onnx.load_tensor(str(folder / f"{side}_{number}.pb"))


def _arrays(values: Sequence[Any]) -> tuple[Array, ...]:
    return tuple(numpy_helper.to_array(item) if isinstance(item, TensorProto) else item for item in values)
