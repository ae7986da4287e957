"""Values of a graph that are whole numbers a byte has room for, and what those mean who read them.

The frontend spells what is quantized in float32 (docs/decisions/0017): a value is rounded, shifted by its zero point
and kept between two limits, Max(Min(Round(x) + zero, most), least); who reads it takes (value - zero) * scale.
Inputs of a model may be bytes as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from gacer_tune.lowering.graph import Graph

RANGE = 255  # between the limits of a byte


@dataclass(frozen=True, slots=True)
class Rounded:
    """A value of whole numbers from `least` to at most `least` + 255, made by node number `maker`.

    add: number of the node that adds its zero point, None where that is 0; below: of the one that keeps it below the
    upper limit; divided: of the one that divides what is rounded, if nothing else reads that. Without these it has the
    largest ones of another such value, `pooled`, or was given as bytes.
    """

    name: str
    least: float
    maker: int
    add: int | None = None
    below: int | None = None
    divided: int | None = None
    pooled: str = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """A value is (rounded - zero) * scale; zero: a number, or the name of one that is computed."""

    rounded: Rounded
    zero: float | str = 0.0
    scale: float = 1.0

    @property
    def above(self) -> float | str:
        """The zero point, counted from the lower limit; of a computed one the limit has to be 0."""
        return self.zero if isinstance(self.zero, str) else self.zero - self.rounded.least


class Meanings:
    """What is known of the values of a graph. rounded: by name, in the order of the nodes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rounded: dict[str, Rounded] = {}
        for number in range(len(graph.nodes)):
            found = self._rounded(number) or self._pooled(number) or self._given(number)
            if found is not None and found.name not in graph.outputs:
                self.rounded[found.name] = found

    def of(self, name: str) -> Meaning | None:
        """Of (rounded - zero) * scale, of rounded - zero, rounded * scale, and of what is rounded itself."""
        scale, zero, shape = 1.0, None, self.graph.shapes[name]
        number = self.maker(name, "Mul")
        if number is not None and (factor := self.number(self.graph.nodes[number].inputs[1])) is not None:
            scale, name = factor, self.graph.nodes[number].inputs[0]
        number = self.maker(name, "Sub")
        if number is not None:
            name, zero = self.graph.nodes[number].inputs
        rounded = self.rounded.get(name) if self.graph.shapes[name] == shape else None
        if rounded is None or zero is None:
            return None if rounded is None else Meaning(rounded, 0.0, scale)
        known = self.number(zero)
        if known is not None:
            return Meaning(rounded, known, scale)
        return Meaning(rounded, zero, scale) if prod(self.graph.shapes[zero]) == 1 and not rounded.least else None

    def number(self, name: str) -> float | None:
        """The value of a constant with one element."""
        constant = self.graph.constants.get(name)
        return float(constant.reshape(-1)[0]) if constant is not None and constant.size == 1 else None

    def maker(self, name: str, op: str) -> int | None:
        """Number of the node that makes a value, if it is this operator."""
        number = self.graph.makers.get(name)
        return number if number is not None and self.graph.nodes[number].op == op else None

    def _rounded(self, number: int) -> Rounded | None:
        """What a node makes, if it is Max(Min(Round(x) + zero, most), least) and nothing else reads its parts."""
        nodes, node = self.graph.nodes, self.graph.nodes[number]
        least = self.number(node.inputs[1]) if node.op == "Max" and len(node.inputs) == 2 else None
        below = self.maker(node.inputs[0], "Min") if least is not None else None
        most = self.number(nodes[below].inputs[1]) if below is not None else None
        if least is None or below is None or most is None or least % 1 or not 0 <= most - least <= RANGE:
            return None
        inside = [node.inputs[0], nodes[below].inputs[0]]
        add = self.maker(inside[1], "Add")
        if add is not None:
            inside.append(nodes[add].inputs[0])
            zero = nodes[add].inputs[1]
            if not self._is_whole(zero) or (least and self.number(zero) is None):
                return None
        alone = all(len(self.graph.readers[name]) == 1 and name not in self.graph.outputs for name in inside)
        same = self.graph.shapes[inside[-1]] == self.graph.shapes[node.outputs[0]]
        nearest = self.maker(inside[-1], "Round")
        if not alone or not same or nearest is None:
            return None
        value = nodes[nearest].inputs[0]
        divided = self.maker(value, "Div") if self.graph.readers[value] == [nearest] else None
        return Rounded(node.outputs[0], least, number, add, below, divided)

    def _pooled(self, number: int) -> Rounded | None:
        """What a node makes, if it is the largest of whole numbers."""
        node = self.graph.nodes[number]
        source = self.rounded.get(node.inputs[0]) if node.op == "MaxPool" and len(node.outputs) == 1 else None
        return None if source is None else Rounded(node.outputs[0], source.least, number, pooled=source.name)

    def _given(self, number: int) -> Rounded | None:
        """What a node makes of an input of bytes."""
        node = self.graph.nodes[number]
        given = (
            node.op == "Cast" and node.inputs[0] in self.graph.inputs and self.graph.dtypes[node.inputs[0]] == "uint8"
        )
        floats = given and self.graph.dtypes[node.outputs[0]] == "float32"
        return Rounded(node.outputs[0], 0.0, number) if floats else None

    def _is_whole(self, name: str) -> bool:
        number, cast = self.number(name), self.maker(name, "Cast")
        if number is not None:
            return number % 1 == 0
        bytes_cast = cast is not None and self.graph.dtypes[self.graph.nodes[cast].inputs[0]] in ("uint8", "int8")
        return bytes_cast or name in self.rounded
