"""Compiles kernel functions once each, in parallel processes, into the kernel cache."""

from __future__ import annotations

import hashlib
import json
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from gacer_tune.kernels.encoding import encode
from gacer_tune.kernels.machine import Machine
from gacer_tune.kernels.rules import Source
from gacer_tune.processes import program
from gacer_tune.store.cache import Cache
from gacer_tune.temporary import temporary_folder

IN_PROCESS = 6  # so few functions are compiled here: a worker first needs seconds to import tvm

Progress = Callable[[int, int], None]


class CompileError(RuntimeError):
    """A kernel does not compile: a bug of its rule."""


def build(sources: Iterable[Source], cache: Cache, workers: int, progress: Progress) -> dict[str, Path]:
    """Return the object file of each function by its name.

    `progress(done, all)` is called once for what the cache has, and then as compiling goes on.
    """
    wanted = {source.name: source for source in sources}
    found: dict[str, Path] = {}
    missing: list[Source] = []
    for name, source in wanted.items():
        path = cache.get(key(name))
        if path is None:
            missing.append(source)
        else:
            found[name] = path
    progress(len(found), len(wanted))
    for name, code in _compiled(missing, workers):
        found[name] = cache.put(key(name), code, ".o")
        progress(len(found), len(wanted))
    return found


def key(name: str) -> str:
    """Cache key of a function: its name says all about its code but the compiler."""
    return hashlib.sha256(f"{name} apache-tvm {version('apache-tvm')}".encode()).hexdigest()


def _compiled(sources: Sequence[Source], workers: int) -> Iterator[tuple[str, bytes]]:
    if len(sources) <= IN_PROCESS or workers == 1:
        from gacer_tune.kernels.emit.compile import object_code

        for source in sources:
            assert isinstance(source.machine, Machine)  # kernels of a GPU are compiled by kernels/cuda
            yield source.name, object_code(source.emit(source.name), source.machine)
        return
    with temporary_folder() as folder, ThreadPoolExecutor(workers) as pool:
        left = iter(sources)
        lock, done = threading.Lock(), queue.Queue[str | None]()
        futures = [pool.submit(_feed, folder, left, lock, done) for _ in range(workers)]
        for future in futures:
            future.add_done_callback(lambda _: done.put(None))
        running = workers
        try:
            while running:
                name = done.get()
                if name is None:
                    running -= 1
                else:
                    yield name, (folder / f"{name}.o").read_bytes()
        finally:  # whoever is interrupted, or asks no further, does not wait for what is left
            with lock:
                deque(left, maxlen=0)
        for future in futures:
            future.result()


def _feed(folder: Path, left: Iterator[Source], lock: threading.Lock, done: queue.Queue[str | None]) -> None:
    """Hand sources to one compiling process, one at a time, until none is left."""
    command = [*program("gacer_tune.kernels.worker"), str(folder)]
    errors = folder / f"{threading.get_ident()}.stderr"  # in a pipe that nobody reads there is room for 64 KiB only
    # In a session of its own: the first Ctrl-C is for the tuner, which goes on.
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        while True:
            with lock:
                source = next(left, None)
            if source is None:
                process.stdin.close()
                return
            try:
                process.stdin.write((json.dumps({"name": source.name, **encode(source)}) + "\n").encode())
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = b""
            if not answer:
                process.wait()
                why = errors.read_text(errors="replace")[-2000:]
                raise CompileError(f"{source.name} does not compile: {why}")
            done.put(answer.decode().strip())
