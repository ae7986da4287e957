"""From the sources of CUDA kernels to the library that runs them; kernels are compiled once each, into the cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from gacer_tune.events import Event, Listen
from gacer_tune.kernels.build import key
from gacer_tune.kernels.cuda.compile import Binary, Resources, compile_source, link, source_of
from gacer_tune.kernels.rules import Source
from gacer_tune.store.cache import Cache
from gacer_tune.temporary import temporary_folder


def module_of(sources: Sequence[Source], cache: Cache, listen: Listen) -> bytes:
    """A library with these functions, in one cubin; compile what is missing. UserError where nothing can compile."""
    binaries = list(compiled(sources, cache, listen))
    from gacer_tune.executor.cuda.host import Launcher, write_library

    arch = str(sources[0].machine.isa)
    cubin = link([binary.code for binary in binaries], arch)
    launchers = [
        Launcher(
            binary.name,
            len(source.spec.tensors(source.machine)),
            binary.resources.threads,
            binary.resources.dynamic_nbytes,
        )
        for source, binary in zip(sources, binaries, strict=True)
    ]
    with temporary_folder() as folder:
        out = folder / "module.so"
        write_library(launchers, cubin, out)
        return out.read_bytes()


def compiled(sources: Sequence[Source], cache: Cache, listen: Listen) -> Iterator[Binary]:
    """The machine code of each source, in order. TVM generates one after the other while compilers run beside it."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        waiting = [
            known_binary(source.name, cache) or pool.submit(_compile, source, _text(source)) for source in sources
        ]
        for done, found in enumerate(waiting, start=1):
            yield found if isinstance(found, Binary) else _kept(found.result(), cache)
            listen(Event("compile", "", done, len(sources)))


def known_binary(name: str, cache: Cache) -> Binary | None:
    """The function's machine code where the cache has it."""
    path, resources = cache.get(key(name)), cache.get_json(_facts_key(name))
    if path is None or resources is None:
        return None
    return Binary(name, path.read_bytes(), Resources(**resources))


def _text(source: Source) -> str:
    return source_of(source.emit(source.name), source.machine)  # type: ignore[arg-type]


def _compile(source: Source, text: str) -> Binary:
    return compile_source(text, str(source.machine.isa))


def _kept(binary: Binary, cache: Cache) -> Binary:
    cache.put(key(binary.name), binary.code, ".cubin")
    cache.put_json(_facts_key(binary.name), asdict(binary.resources))
    return binary


def _facts_key(name: str) -> str:
    return hashlib.sha256(f"resources {key(name)}".encode()).hexdigest()
