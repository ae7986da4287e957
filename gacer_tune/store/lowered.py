"""Lowered models in the cache: what was read, simplified and packed once is mapped the next time.

A model is two entries: a small document with its ops, and a safetensors file with its packed weights, keyed by what it
holds. The weights are the bulk, so all of them together are limited; the least recently used go first.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from gacer_tune.errors import UserError
from gacer_tune.ir.workload import Buffer, Operand, Port
from gacer_tune.kernels.encoding import value_of
from gacer_tune.kernels.rules import Processor, Spec, code_version
from gacer_tune.lowering.context import LoweredKernel, LoweredOp
from gacer_tune.lowering.lower import LoweredModel
from gacer_tune.store.cache import Cache
from gacer_tune.store.canonical import digest
from gacer_tune.store.fingerprint import versions
from gacer_tune.store.tensors import SUFFIX, mapped, put_arrays

FORMAT = 2
MOST_NBYTES = 8 << 30  # of packed weights in one cache
_DOCUMENT = ".lowered"  # not .json: a search for schedules reads all of those

_log = logging.getLogger(__name__)


def key_of(model: str, machine: Processor, lanes: int = 1) -> str:
    """What a lowered model depends on. model: digest of the file and of the shapes and the batch it was given."""
    code = code_version("frontend", "lowering", "kernels", "kernels/emit")
    made_with = versions("onnx", "onnxslim", "apache-tvm", "numpy")
    return digest(["lowered model", FORMAT, model, type(machine).__name__, asdict(machine), lanes, code, made_with])


def find(cache: Cache, key: str) -> LoweredModel | None:
    """The model as `keep` has stored it, its weights mapped; None where there is none, or no whole one."""
    path = cache.get(key)
    if path is None:
        return None
    try:
        found = _read(json.loads(path.read_bytes()))
        packed = cache.get(_weights_key(found))
        return None if packed is None else _with_weights(found, packed)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        _log.warning("%s: not what this version writes (%s: %s), it is made anew", path, type(error).__name__, error)
        return None


def keep(cache: Cache, key: str, model: LoweredModel) -> LoweredModel:
    """Store a model; the same model with its weights mapped. Where there is no room it is what was given."""
    nbytes = sum(array.nbytes for array in model.weights.values())
    try:
        if nbytes > MOST_NBYTES or _free(cache.root) < 2 * nbytes:
            return model
        weights = {model.buffers[number].content: array for number, array in model.weights.items()}
        packed = put_arrays(cache, _weights_key(model), weights, SUFFIX)
        cache.put(key, json.dumps(_document(model)).encode("ascii"), _DOCUMENT)
        cache.gc(MOST_NBYTES, suffix=SUFFIX)
        return _with_weights(model, packed)
    except (UserError, OSError) as error:
        _log.warning("a packed model was not kept for later runs: %s", error)
        return model


def _free(root: Path) -> int:
    """Bytes that are free on the disk of a folder, which need not exist yet."""
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    return shutil.disk_usage(there).free


def _weights_key(model: LoweredModel) -> str:
    return digest(["packed weights", FORMAT, sorted({b.content for b in model.buffers if b.kind == "weight"})])


def _with_weights(model: LoweredModel, packed: Path) -> LoweredModel:
    arrays = mapped(packed)
    weights = {n: arrays[b.content] for n, b in enumerate(model.buffers) if b.kind == "weight"}
    return replace(model, weights=weights, packed=packed)


def _document(model: LoweredModel) -> dict[str, Any]:
    """All but the weights. Equal specs, as those of equal layers are, stand there once."""
    specs: dict[str, int] = {}  # as text: 1 and 1.0 are equal, and yet they are other kernels

    def number(spec: Spec) -> int:
        fields = asdict(spec)  # type: ignore[call-overload]
        return specs.setdefault(json.dumps([type(spec).__module__, type(spec).__qualname__, fields]), len(specs))

    def kernel(one: LoweredKernel) -> list[Any]:
        return [number(one.spec), [[o.buffer, o.writes, o.offset] for o in one.operands]]

    return {
        "ops": [[op.name, op.kind, [kernel(one) for one in op.kernels], op.direct] for op in model.ops],
        "specs": [json.loads(text) for text in specs],
        "buffers": [[b.name, b.nbytes, b.kind, b.content] for b in model.buffers],
        "inputs": [asdict(port) for port in model.inputs],
        "outputs": [asdict(port) for port in model.outputs],
        "rounds": model.rounds,
    }


def _read(document: Mapping[str, Any]) -> LoweredModel:
    """Inverse of `_document`; the weights are missing."""
    specs = [_spec(*row) for row in document["specs"]]
    ops = tuple(
        LoweredOp(
            name,
            kind,
            tuple(LoweredKernel(specs[n], tuple(Operand(*o) for o in operands)) for n, operands in ks),
            direct,
        )
        for name, kind, ks, direct in document["ops"]
    )
    buffers = tuple(Buffer(*row) for row in document["buffers"])
    inputs, outputs = (tuple(value_of(Port, port) for port in document[side]) for side in ("inputs", "outputs"))
    return LoweredModel(ops, buffers, inputs, outputs, {}, rounds=bool(document["rounds"]))


def _spec(module: str, name: str, data: Mapping[str, Any]) -> Spec:
    if not module.startswith("gacer_tune.kernels."):
        raise ValueError(f"{module}.{name} is no kernel")
    found: Spec = value_of(getattr(import_module(module), name), data)
    return found
