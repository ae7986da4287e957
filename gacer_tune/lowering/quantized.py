"""Convolutions and products of quantized values by bytes, where the processor multiplies them.

A value that is rounded to whole numbers (see `rounded`) is stored as bytes, counted from its lower limit. Products of
it with weights that are whole multiples of a scale of their output become sums of whole numbers, and what was done to
all inputs is done once to the sums:

    Conv((u - z) * s, W * t) + b    ->    ByteConv(u, W) * (s * t) + (b - z * s * t * sum of W)

A border counts as 0, which as a byte is the zero point: where that is not 0, and where channels are no whole words, the
bytes are copied with the border, and with channels whose weights are 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from gacer_tune.kernels.byte_conv import WORD, fits
from gacer_tune.kernels.machine import Machine, Target
from gacer_tune.kernels.tensor import ceildiv
from gacer_tune.lowering.conv_node import read_conv
from gacer_tune.lowering.elementwise import DEQUANTIZE, ELEMENTWISE
from gacer_tune.lowering.graph import Array, Graph, Node
from gacer_tune.lowering.multiples import whole_multiples
from gacer_tune.lowering.rounded import RANGE, Meaning, Meanings, Rounded

BYTE_CONV, BYTE_MATMUL = "gacer.ByteConv", "gacer.ByteMatMul"


@dataclass(frozen=True, slots=True)
class Product:
    """A node that is computed by bytes. scales and bias: of its outputs; weight: whole numbers, (o, c, ..) for a
    convolution, (k, n) for a matrix; pads: of the source before, begins, then ends, of all its axes."""

    meaning: Meaning
    scales: Array
    bias: Array
    weight: NDArray[np.int8]
    pads: tuple[int, ...] = ()


def of_bytes(graph: Graph, machine: Target) -> tuple[Graph, frozenset[str]]:
    """The graph with products of bytes, and the values that are stored as such; on other processors as it was."""
    if not isinstance(machine, Machine) or not machine.dots:
        return graph, frozenset()
    known = Meanings(graph)
    products = {number: found for number, node in enumerate(graph.nodes) if (found := product_of(known, node))}
    chosen = {found.meaning.rounded.name for found in products.values()}
    chosen |= {name for name in known.rounded if prod(graph.shapes[name]) > 1 and _only_summed(known, products, name)}
    for name in reversed(known.rounded):
        if name in chosen and known.rounded[name].pooled:
            chosen.add(known.rounded[name].pooled)
    return _Rewriting(known, products, chosen).result()


def product_of(known: Meanings, node: Node) -> Product | None:
    """How a node is computed by bytes; None where it is not."""
    graph = known.graph
    meaning = known.of(node.inputs[0]) if node.op in ("Conv", "MatMul", "Gemm") else None
    if meaning is None or node.inputs[1] not in graph.constants:
        return None
    weight = _conv_weight(graph, node, meaning) if node.op == "Conv" else _matrix(graph, node)
    found = whole_multiples(weight.reshape(len(weight), -1)) if weight is not None else None
    if weight is None or found is None:
        return None
    whole, scales = found[0].reshape(weight.shape), found[1]
    bias = graph.constants.get(node.inputs[2]) if node.given(2) else np.zeros(len(weight))
    if bias is None or bias.size != len(weight):
        return None
    bias = bias.reshape(-1).astype(np.float64)
    if node.op == "Conv":
        return Product(meaning, scales, bias, *_padded(graph, node, meaning, whole))
    return Product(meaning, scales, bias, np.ascontiguousarray(whole.T))


def _conv_weight(graph: Graph, node: Node, meaning: Meaning) -> Array | None:
    """The weights of a convolution, outputs first, where it can be one of bytes."""
    weight = graph.constants[node.inputs[1]]
    if weight.ndim not in (3, 4):
        return None
    given, zero = read_conv(graph, node), meaning.above
    known = not isinstance(zero, str) and zero in range(RANGE + 1)
    if given.groups != 1 or (not known and (any(given.pads) or weight.shape[1] % WORD)):
        return None
    return weight if fits(ceildiv(weight.shape[1], WORD) * WORD, given.window) else None


def _matrix(graph: Graph, node: Node) -> Array | None:
    """The constant matrix of a product, outputs first, where it can be one of bytes."""
    weight, given = graph.constants[node.inputs[1]], node.attributes
    plain = not given.get("transA", 0) and given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0
    if weight.ndim != 2 or len(graph.shapes[node.inputs[0]]) < 2 or not plain:
        return None
    weight = weight if given.get("transB", 0) else weight.T
    return weight if fits(weight.shape[1], (1, 1)) else None


def _padded(
    graph: Graph, node: Node, meaning: Meaning, weight: NDArray[np.int8]
) -> tuple[NDArray[np.int8], tuple[int, ...]]:
    """The weights with channels to make whole words, and how the source is padded to fit them; () where it does."""
    given, more = read_conv(graph, node), -weight.shape[1] % WORD
    border = given.pads if meaning.above != 0 else (0,) * len(given.pads)
    if not more and not any(border):
        return weight, ()
    half = len(border) // 2
    wider = np.pad(weight, ((0, 0), (0, more), *((0, 0),) * (weight.ndim - 2)))
    return wider, (0, 0, *border[:half], 0, more, *border[half:])


def reads_bytes(known: Meanings, node: Node) -> bool:
    """Whether a convolution in float32 may read bytes: that of groups, which are few channels or one, without borders
    but those of zeros."""
    if node.op != "Conv" or node.attributes.get("group", 1) == 1 or node.inputs[1] not in known.graph.constants:
        return False
    meaning = known.of(node.inputs[0])
    return meaning is not None and meaning.above == 0


def _only_summed(known: Meanings, products: dict[int, Product], name: str) -> bool:
    """Whether all that reads a value, or what it means, is elementwise, or a convolution or product of bytes."""
    nodes = known.graph.nodes
    others = (number for number in known.graph.readers.get(name, ()) if number not in products)
    readers = [nodes[number] for number in others if not reads_bytes(known, nodes[number])]
    if name in known.graph.outputs or any(node.op not in ELEMENTWISE for node in readers):
        return False
    meant = [node.outputs[0] for node in readers if known.of(node.outputs[0])]
    return bool(known.graph.readers.get(name)) and all(_only_summed(known, products, out) for out in meant)


class _Rewriting:
    def __init__(self, known: Meanings, products: dict[int, Product], chosen: set[str]) -> None:
        self.known, self.graph, self.products, self.chosen = known, known.graph, products, chosen
        graph = known.graph
        self.shapes, self.dtypes, self.constants = dict(graph.shapes), dict(graph.dtypes), dict(graph.constants)
        self.stored = {self._bytes(known.rounded[name]) for name in chosen}
        self.shifted = {
            number: found
            for found in (known.rounded[name] for name in chosen) if found.least != 0
            for number in (found.add, found.below, found.maker) if number is not None
        }  # fmt: skip
        self.divided = {known.rounded[name].divided for name in chosen}
        self.pooling = {known.rounded[name].maker for name in chosen if known.rounded[name].pooled}

    def result(self) -> tuple[Graph, frozenset[str]]:
        """Without the nodes that nobody needs any more."""
        nodes = [made for number, node in enumerate(self.graph.nodes) for made in self._instead(number, node)]
        needed, kept = set(self.graph.outputs), list[Node]()
        for node in reversed(nodes):
            if not needed.isdisjoint(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        found = replace(self.graph, nodes=tuple(kept[::-1]), shapes=self.shapes, dtypes=self.dtypes)
        return replace(found, constants=self.constants), frozenset(self.stored)

    def _instead(self, number: int, node: Node) -> list[Node]:
        """What takes a node's place."""
        if number in self.products:
            return self._sums(node, self.products[number])
        if number in self.shifted:
            return self._from_zero(number, node, self.shifted[number])
        if number in self.pooling:
            return [node]
        if reads_bytes(self.known, node) and (meaning := self._meaning(node.inputs[0])):
            return [self._scaled(node, meaning)]
        if node.op in ELEMENTWISE and not any(self._meaning(name) for name in node.outputs):
            *own, last = self._with_own(node)
            return [*own, self._multiplied(last) if number in self.divided else last]
        return [node]

    def _multiplied(self, node: Node) -> Node:
        """What is divided to be rounded is multiplied, as where the divisor is in the weights: that takes a tenth of
        the time, and differs in a last bit."""
        divisor = self.graph.constants.get(node.inputs[1])
        if divisor is None or not np.all(divisor):
            return node
        factor = self._constant(f"{node.outputs[0]}/factor", np.reciprocal(divisor))
        return replace(node, op="Mul", inputs=(node.inputs[0], factor))

    def _meaning(self, name: str) -> Meaning | None:
        """What a value means that is made of bytes."""
        meaning = self.known.of(name)
        return meaning if meaning is not None and meaning.rounded.name in self.chosen else None

    def _bytes(self, rounded: Rounded) -> str:
        """The value that is stored as bytes."""
        return rounded.name if rounded.least == 0 else f"{rounded.name}/bytes"

    def _from_zero(self, number: int, node: Node, rounded: Rounded) -> list[Node]:
        """One of the nodes that make a value, which is counted from its lower limit now."""
        if number == rounded.maker:
            made = self._value(self._bytes(rounded), rounded.name)
            source = self._bytes(self.known.rounded[rounded.pooled]) if rounded.pooled else node.inputs[0]
            first = replace(node, inputs=(source,), outputs=(made,))
            if not rounded.pooled:
                first = self._binary("Max", source, 0.0, made)
            return [first, self._binary("Add", made, rounded.least, rounded.name)]
        source, nodes = node.inputs[0], list[Node]()
        if number == rounded.below and rounded.add is None:
            source = self._value(f"{rounded.name}/shifted", source)
            nodes = [self._binary("Add", node.inputs[0], -rounded.least, source)]
        limit = self.known.number(node.inputs[1])
        assert limit is not None, "a computed zero point has a lower limit of 0"
        return [*nodes, self._binary(node.op, source, limit - rounded.least, node.outputs[0])]

    def _sums(self, node: Node, product: Product) -> list[Node]:
        """The product of bytes, by the name of the node, and what is done to it."""
        out, meaning, image = node.outputs[0], product.meaning, node.op == "Conv"
        nodes, source, attributes = list[Node](), self._bytes(meaning.rounded), node.attributes if image else {}
        if product.pads:
            nodes, source = self._bordered(source, product)
            if meaning.above != 0:
                attributes = {**attributes, "pads": [0] * (len(product.pads) - 4), "auto_pad": "NOTSET"}
        weight, sums = self._constant(f"{out}/bytes", product.weight), self._value(f"{out}/sums", out)
        op = BYTE_CONV if image else BYTE_MATMUL
        return [*nodes, Node(op, node.name, (source, weight), (sums,), attributes), *self._finished(sums, out, product)]

    def _finished(self, sums: str, out: str, product: Product) -> list[Node]:
        """From sums of whole numbers to what the product was."""
        image = product.weight.ndim > 2
        behind = (1,) * (product.weight.ndim - 2)
        totals = product.weight.sum(axis=tuple(range(1, product.weight.ndim)) if image else 0, dtype=np.float64)
        scales, zero, bias = product.scales * product.meaning.scale, product.meaning.above, product.bias
        nodes = list[Node]()
        if isinstance(zero, str):
            shift, centred = self._value(f"{out}/shift", out), self._value(f"{out}/centred", out)
            self.shapes[shift] = (*totals.shape, *behind)
            nodes.append(self._binary("Mul", zero, totals.reshape(-1, *behind), shift))
            nodes.append(Node("Sub", centred, (sums, shift), (centred,), {}))
            sums = centred
        else:
            bias = bias - zero * scales * totals
        scaled = self._value(f"{out}/scaled", out) if np.any(bias) else out
        nodes.append(self._binary("Mul", sums, scales.reshape(-1, *behind), scaled))
        if np.any(bias):
            nodes.append(self._binary("Add", scaled, bias.reshape(-1, *behind), out))
        return nodes

    def _bordered(self, source: str, product: Product) -> tuple[list[Node], str]:
        """A copy of bytes with the zero point around them, one for all who need the same."""
        made = "/".join((source, f"{product.meaning.above:g}", *map(str, product.pads)))
        if made in self.stored:
            return [], made
        self._value(made, source)
        sides = zip(self.shapes[source], *np.split(np.asarray(product.pads), 2), strict=True)
        self.shapes[made] = tuple(int(before + extent + after) for extent, before, after in sides)
        self.stored.add(made)
        pads = self._constant(f"{made}/pads", np.asarray(product.pads, np.int64))
        value = self._constant(f"{made}/value", np.asarray(product.meaning.above, np.float32))
        return [Node("Pad", made, (source, pads, value), (made,), {})], made

    def _scaled(self, node: Node, meaning: Meaning) -> Node:
        """A convolution in float32 of the bytes themselves, the scale in its weights."""
        weight = self.graph.constants[node.inputs[1]] * np.float32(meaning.scale)
        scaled = self._constant(f"{node.outputs[0]}/scaled", weight)
        return replace(node, inputs=(self._bytes(meaning.rounded), scaled, *node.inputs[2:]))

    def _with_own(self, node: Node) -> list[Node]:
        """A node that takes what it reads from bytes itself."""
        nodes, inputs = list[Node](), list[str]()
        for name in node.inputs:
            meaning = self._meaning(name) if name else None
            if meaning is None or isinstance(meaning.above, str):
                inputs.append(name)
                continue
            own = self._value(f"{node.outputs[0]}/{len(inputs)}", name)
            attributes = {"zero": meaning.above, "scale": meaning.scale}
            nodes.append(Node(DEQUANTIZE, own, (self._bytes(meaning.rounded),), (own,), attributes))
            inputs.append(own)
        return [*nodes, replace(node, inputs=tuple(inputs))]

    def _binary(self, op: str, value: str, number: float | Array, made: str) -> Node:
        constant = self._constant(f"{made}/{op}", np.asarray(number, np.float32))
        return Node(op, made, (value, constant), (made,), {})

    def _constant(self, name: str, value: Array) -> str:
        self.constants[name], self.shapes[name], self.dtypes[name] = value, value.shape, str(value.dtype)
        return name

    def _value(self, name: str, like: str) -> str:
        self.shapes[name], self.dtypes[name] = self.shapes[like], "float32"
        return name
