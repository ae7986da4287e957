"""Is this a graph we understand: operators, names, order. Refuses, or repairs what is only untidy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

import onnx
from onnx import inliner

from gacer_tune.errors import UserError
from gacer_tune.frontend.limits import MAX_FILE_NBYTES, MAX_NODES, all_graphs, all_nodes
from gacer_tune.frontend.nodes import label, op_name, reads

MIN_OPSET = 7  # older operators broadcast and normalise differently
MAX_NAMES = 10
_DEFAULT_DOMAINS = ("", "ai.onnx")
_BLOCKED = "com.microsoft.nchwc"  # what ONNX Runtime writes for one kind of processor


def listing(names: Iterable[str]) -> str:
    """At most ten names, then how many more: `a, b and 3 more`."""
    known = list(names)
    shown = ", ".join(known[:MAX_NAMES])
    return f"{shown} and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else shown


def check_opset(model: onnx.ModelProto) -> None:
    """Refuse operator sets that are too old or newer than the installed onnx."""
    versions = {item.version for item in model.opset_import if item.domain in _DEFAULT_DOMAINS}
    if len(versions) != 1:
        raise UserError(f"imports {len(versions)} versions of the operator set ai.onnx, exactly 1 is allowed")
    newest = int(onnx.defs.onnx_opset_version())
    version = versions.pop()
    if not MIN_OPSET <= version <= newest:
        raise UserError(f"operator set {version} is not supported, only {MIN_OPSET} to {newest}")


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions written out. External data may still be outside."""
    if not model.functions:
        return model
    _check_expansion(model)
    inlined = inliner.inline_local_functions(model)
    if inlined.functions:
        names = listing(f"{item.domain}.{item.name}" for item in inlined.functions)
        raise UserError(f"functions that cannot be inlined: {names}")
    return inlined


def _check_expansion(model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves or that grow beyond the limits when written out."""
    bodies = {(item.domain, item.name): item for item in model.functions}
    calls: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for key, body in bodies.items():
        called = Counter((node.domain, node.op_type) for node in _function_nodes(body))
        calls[key] = Counter({name: count for name, count in called.items() if name in bodies})
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        names = " -> ".join(f"{domain}.{name}" for domain, name in error.args[1])
        raise UserError(f"functions call each other in a circle: {names}") from None
    nodes: dict[tuple[str, str], int] = {}
    nbytes: dict[tuple[str, str], int] = {}
    for key in order:
        nodes[key] = len(_function_nodes(bodies[key])) + sum(nodes[name] * n for name, n in calls[key].items())
        nbytes[key] = bodies[key].ByteSize() + sum(nbytes[name] * n for name, n in calls[key].items())
    used = Counter((node.domain, node.op_type) for node in all_nodes(model.graph))
    total = sum(nodes[key] * used[key] for key in order)
    if total > MAX_NODES or sum(nbytes[key] * used[key] for key in order) > MAX_FILE_NBYTES:
        raise UserError(f"the model's functions stand for {total} nodes, at most {MAX_NODES} and 2 GiB")


def _function_nodes(body: onnx.FunctionProto) -> list[onnx.NodeProto]:
    return list(all_nodes(onnx.GraphProto(node=body.node)))


def check_domains(model: onnx.ModelProto) -> None:
    """Refuse operators outside ai.onnx, listed by domain; spell that domain "" and drop other imports, in place."""
    custom: dict[str, list[str]] = {}
    for node in all_nodes(model.graph):
        if node.domain not in _DEFAULT_DOMAINS:
            custom.setdefault(node.domain, []).append(f"{label(node)} ({node.op_type})")
        node.domain = ""
    if custom:
        lists = "; ".join(f"{domain}: {listing(names)}" for domain, names in sorted(custom.items()))
        hint = "; let ONNX Runtime save it with ORT_ENABLE_EXTENDED at most" if _BLOCKED in custom else ""
        raise UserError(f"custom operators are not supported, only ai.onnx and some of com.microsoft: {lists}{hint}")
    version = next(item.version for item in model.opset_import if item.domain in _DEFAULT_DOMAINS)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", version))


def check_names(graph: onnx.GraphProto) -> None:
    """Refuse values with two makers, twice declared inputs, outputs or constants, and values that nothing makes."""
    constants = {item.name for item in graph.initializer}
    made = [name for node in graph.node for name in node.output if name]
    groups = {
        "constant": [item.name for item in graph.initializer],
        "input": [item.name for item in graph.input],
        "output": [item.name for item in graph.output],
        "value": made + list(constants | {item.name for item in graph.input}),
    }
    for kind, names in groups.items():
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise UserError(f"{kind} defined more than once: {listing(twice)}")
    known = set(groups["value"])
    for node in graph.node:
        missing = sorted(reads(node) - known)
        if missing:
            raise UserError(
                f"node {label(node)!r} ({op_name(node)}) reads values that nothing makes: {listing(missing)}"
            )
    lost = [item.name for item in graph.output if item.name not in known]
    if lost:
        raise UserError(f"graph outputs that nothing makes: {listing(lost)}")


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Let each node follow what it reads, in place; refuse cycles. Nodes already in order stay as they are."""
    known = {item.name for item in graph.input} | {item.name for item in graph.initializer}
    for node in graph.node:
        if not reads(node) <= known:
            break
        known.update(node.output)
    else:
        return
    nodes = list(graph.node)
    maker = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = {index: {maker[name] for name in reads(node) if name in maker} for index, node in enumerate(nodes)}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        names = " -> ".join(repr(label(nodes[index])) for index in reversed(error.args[1]))
        raise UserError(f"the graph has a cycle: {names}") from None
    del graph.node[:]
    graph.node.extend(nodes[index] for index in order)


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own, in place: nameless and repeated ones get `OpType_number`."""
    count = Counter(node.name for node in graph.node)
    taken = set(count)
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        name = f"{node.op_type}_{index}"
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)
        seen.add(name)


def freeze_inputs(graph: onnx.GraphProto) -> None:
    """Take constants off the list of graph inputs, in place: a default value is the value."""
    constants = {item.name for item in graph.initializer}
    kept = [item for item in graph.input if item.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)


def check_subgraphs(graph: onnx.GraphProto) -> None:
    """Refuse sparse constants anywhere; onnx's own checker looks at the rest of the subgraphs."""
    for inner in all_graphs(graph):
        if inner.sparse_initializer:
            raise UserError(
                f"sparse constant {inner.sparse_initializer[0].values.name!r} is not supported, only dense ones"
            )
