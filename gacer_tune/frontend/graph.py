"""The graph while it is being rewritten, and the driver that applies rewrite rules to it.

A rule is a function `(Uses, node) -> Replacement | None`: given a node and its surroundings it says what to put in its
place. Rules never change the graph themselves; `rewrite` does, and repeats until no rule applies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx
from onnx import helper

from gacer_tune.frontend.nodes import GACER_DOMAIN, Array, free_names, opset_of, reads, subgraphs, to_array, to_tensor

SMALL = 4096  # elements of the largest constant that stays one in a skeleton


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type (onnx number) and static shape of a value."""

    element: int
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of the value in memory."""
        return math.prod(self.shape) * int(helper.tensor_dtype_to_np_dtype(self.element).itemsize)

    def value_info(self, name: str) -> onnx.ValueInfoProto:
        """The declaration of a value of this type."""
        return helper.make_tensor_value_info(name, self.element, self.shape)


@dataclass(slots=True)
class Graph:
    """A working copy: nodes in topological order. Mutable, but only `rewrite`, `sweep` and the folder change it."""

    name: str
    opset: int
    inputs: list[onnx.ValueInfoProto]
    outputs: list[onnx.ValueInfoProto]
    nodes: list[onnx.NodeProto]
    constants: dict[str, onnx.TensorProto]
    types: dict[str, TensorType] = field(default_factory=dict)

    @staticmethod
    def of(model: onnx.ModelProto) -> Graph:
        """The model's graph, with the types it declares. Shares the tensors with the model, which must not change."""
        graph = model.graph
        return Graph(
            name=graph.name or "graph",
            opset=opset_of(model),
            inputs=list(graph.input),
            outputs=list(graph.output),
            nodes=list(graph.node),
            constants={item.name: item for item in graph.initializer},
            types=declared_types(graph),
        )

    def skeleton(self) -> onnx.ModelProto:
        """As `to_model`, but constants of more than SMALL elements are inputs: enough for checks and inference."""
        small = {name: item for name, item in self.constants.items() if math.prod(item.dims) <= SMALL}
        large = [
            helper.make_tensor_value_info(name, item.data_type, item.dims)
            for name, item in self.constants.items()
            if name not in small
        ]
        return replace(self, constants=small, inputs=[*self.inputs, *large]).to_model()

    def to_model(self) -> onnx.ModelProto:
        """A new model of this graph, every known type declared; gacer operators are imported if there are any."""
        made = {name for node in self.nodes for name in node.output}
        given = {item.name for item in self.outputs}
        # Filled in place: protobuf cannot copy a finished graph beyond 2 GiB into the model.
        model = onnx.ModelProto(ir_version=8, producer_name="gacer-tune")
        graph = model.graph
        graph.name = self.name
        graph.node.extend(self.nodes)
        graph.input.extend(self.inputs)
        graph.initializer.extend(self.constants.values())
        for item in self.outputs:
            known = self.types.get(item.name)
            graph.output.append(known.value_info(item.name) if known else item)
        graph.value_info.extend(
            known.value_info(name) for name, known in self.types.items() if name in made and name not in given
        )
        model.opset_import.append(helper.make_opsetid("", self.opset))
        if any(node.domain == GACER_DOMAIN for node in self.nodes):
            model.opset_import.append(helper.make_opsetid(GACER_DOMAIN, 1))
        return model


def declared_types(graph: onnx.GraphProto) -> dict[str, TensorType]:
    """Types of the values whose shape is declared and static, and of all constants."""
    found: dict[str, TensorType] = {}
    for item in [*graph.input, *graph.value_info, *graph.output]:
        dims = static_dims(item)
        if dims is not None:
            found[item.name] = TensorType(item.type.tensor_type.elem_type, dims)
    found.update({item.name: TensorType(item.data_type, tuple(item.dims)) for item in graph.initializer})
    return found


def static_dims(item: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The declared shape if the value is a tensor and every dimension is a number."""
    if not item.type.HasField("tensor_type") or not item.type.tensor_type.HasField("shape"):
        return None
    dims = item.type.tensor_type.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None


@dataclass(frozen=True, slots=True)
class Uses:
    """Who makes and who reads each value of a graph, at one moment."""

    makers: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, int]  # how many times a value is read; a graph output counts as a reader
    outputs: frozenset[str]
    constants: Mapping[str, onnx.TensorProto]
    types: Mapping[str, TensorType]
    opset: int
    taken: set[str]

    @staticmethod
    def of(graph: Graph) -> Uses:
        """The uses in the graph as it is now."""
        readers = Counter(name for node in graph.nodes for name in node.input if name)
        readers.update(name for node in graph.nodes for inner in subgraphs(node) for name in free_names(inner))
        outputs = frozenset(item.name for item in graph.outputs)
        readers.update(outputs)
        makers = {name: node for node in graph.nodes for name in node.output if name}
        taken = {*makers, *graph.constants, *(item.name for item in graph.inputs)}
        taken.update(node.name for node in graph.nodes)
        return Uses(makers, readers, outputs, graph.constants, graph.types, graph.opset, taken)

    def maker(self, name: str, *op_types: str) -> onnx.NodeProto | None:
        """The node that makes the value, if it is one of these operators (of ai.onnx, or spelt `gacer.Op`)."""
        node = self.makers.get(name)
        if node is None:
            return None
        spelt = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        return node if spelt in op_types else None

    def inner(self, name: str, *op_types: str) -> onnx.NodeProto | None:
        """As `maker`, but only if the value is read exactly once: it may disappear with its reader."""
        return self.maker(name, *op_types) if self.readers.get(name) == 1 else None

    def array(self, name: str) -> Array | None:
        """The value if it is constant."""
        tensor = self.constants.get(name)
        return None if tensor is None else to_array(tensor)

    def scalar(self, name: str) -> float | None:
        """The value if it is a constant with one element, a real number."""
        tensor = self.constants.get(name)
        if tensor is None or math.prod(tensor.dims) != 1:
            return None
        value = to_array(tensor)
        return None if value.dtype.kind in "cOSU" else float(value.reshape(-1)[0])

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The value's static shape if it is known."""
        known = self.types.get(name)
        return None if known is None else known.shape

    def fresh(self, base: str) -> str:
        """A name nothing else has, made from `base`, and taken from now on."""
        name, number = base, 1
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name

    def constant(self, value: Array, base: str) -> onnx.TensorProto:
        """A new constant with a fresh name."""
        return to_tensor(value, self.fresh(base))


@dataclass(frozen=True, slots=True)
class Replacement:
    """What takes a node's place: nodes that make the same output values, and the constants they need.

    Other nodes the rule looked through stay until `sweep` finds that nobody reads them, so that several replacements in
    one round cannot harm each other. `types` are those of new values, as far as inference cannot find them.
    """

    nodes: Sequence[onnx.NodeProto]
    constants: Sequence[onnx.TensorProto] = ()
    types: Mapping[str, TensorType] = field(default_factory=dict)


Rule = Callable[[Uses, onnx.NodeProto], Replacement | None]


def rewrite(graph: Graph, rules: Sequence[Rule]) -> bool:
    """Apply the rules everywhere until none applies; whether anything changed. Dead nodes are swept."""
    changed = False
    while _rewrite_once(graph, rules):
        sweep(graph)
        changed = True
    return changed


def _rewrite_once(graph: Graph, rules: Sequence[Rule]) -> bool:
    uses = Uses.of(graph)
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in graph.nodes:
        found = next((item for rule in rules if (item := rule(uses, node)) is not None), None)
        if found is None:
            nodes.append(node)
            continue
        nodes.extend(found.nodes)
        graph.constants.update({item.name: item for item in found.constants})
        graph.types.update({item.name: TensorType(item.data_type, tuple(item.dims)) for item in found.constants})
        graph.types.update(found.types)
        changed = True
    graph.nodes = nodes
    return changed


def sweep(graph: Graph) -> None:
    """Remove nodes whose outputs nobody needs, unused constants, and types of values that are gone."""
    needed = {item.name for item in graph.outputs}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.output):
            continue
        kept.append(node)
        needed |= reads(node)
    graph.nodes = kept[::-1]
    graph.constants = {name: item for name, item in graph.constants.items() if name in needed}
    alive = {name for node in graph.nodes for name in node.output} | {item.name for item in graph.inputs}
    alive |= graph.constants.keys()
    graph.types = {name: known for name, known in graph.types.items() if name in alive}
