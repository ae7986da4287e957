"""Compiles kernel functions once each, in parallel processes, into the kernel cache."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from gacer_tune.kernels.rules import Source
from gacer_tune.store.cache import Cache

IN_PROCESS = 6  # so few functions are compiled here: a worker first needs seconds to import tvm
BATCH = 4  # functions handed to a worker at a time

Progress = Callable[[int, int], None]


def build(sources: Iterable[Source], cache: Cache, workers: int, progress: Progress | None = None) -> dict[str, Path]:
    """Return the object file of each function by its name; `progress(done, all)` is called as compiling goes on."""
    wanted = {source.name: source for source in sources}
    found: dict[str, Path] = {}
    missing: list[Source] = []
    for name, source in wanted.items():
        path = cache.get(key(name))
        if path is None:
            missing.append(source)
        else:
            found[name] = path
    for name, code in _compiled(missing, workers):
        found[name] = cache.put(key(name), code, ".o")
        if progress is not None:
            progress(len(found), len(wanted))
    return found


def key(name: str) -> str:
    """Cache key of a function: its name says all about its code but the compiler."""
    return hashlib.sha256(f"{name} apache-tvm {version('apache-tvm')}".encode()).hexdigest()


def _compiled(sources: Sequence[Source], workers: int) -> Iterable[tuple[str, bytes]]:
    if len(sources) <= IN_PROCESS or workers == 1:
        for source in sources:
            yield source.name, _object(source)
        return
    # spawn: a fork of a process that runs threads (TVM's, ONNX Runtime's) can hang
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from zip((source.name for source in sources), pool.map(_object, sources, chunksize=BATCH), strict=True)


def _object(source: Source) -> bytes:
    from gacer_tune.kernels.emit.compile import object_code

    return object_code(source.emit(), source.machine)
