"""Compiles the distinct kernels of the small models: `python -m tests.gpu.compile_all --precision fp16 [NAME...]`.

A long check: several hundred kernels, one to three seconds each. What compiles once is in the cache of kernels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gacer_tune.events import Event
from gacer_tune.executor.cuda.module import compiled
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu
from gacer_tune.kernels.rules import Source, rule
from gacer_tune.store.cache import Cache
from gacer_tune.tenants import Model, assemble
from tests.cuda.emulated import lowered
from tests.support.small_models import SMALL


def distinct(names: Sequence[str], gpu: Gpu, most: int) -> Iterator[Source]:
    """The sources of all kernels of these models, `most` variants of each, every one once."""
    seen: set[str] = set()
    for name in names:
        made = assemble([Model(name, "0" * 64, lowered(SMALL[name](), gpu))], gpu, most)
        for function, source in made.sources.items():
            if function not in seen:
                seen.add(function)
                yield source


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile all kernels of the small models for a GPU.")
    parser.add_argument("names", nargs="*", help="models; all unless given")
    parser.add_argument("--arch", default="sm_90", choices=sorted(GPUS))
    parser.add_argument("--precision", default="fp16", choices=["fp32", "tf32", "fp16"])
    parser.add_argument("--variants", type=int, default=8, help="at most so many of each kernel")
    given = parser.parse_args(arguments)
    gpu = replace(GPUS[given.arch], precision=given.precision)
    sources = list(distinct(given.names or sorted(SMALL), gpu, given.variants))
    began, spills = time.monotonic(), []

    def listen(event: Event) -> None:
        if event.done % 25 == 0:
            sys.stderr.write(f"{event.done} of {event.total}\n")

    for source, binary in zip(sources, compiled(sources, Cache(), listen), strict=True):
        if binary.resources.spill_nbytes:
            spills.append((rule(source.spec), source.tile, binary.resources))
    for found in spills:
        sys.stdout.write(f"spills: {found}\n")
    kinds = {name: sum(rule(s.spec) == name for s in sources) for name in sorted({rule(s.spec) for s in sources})}
    sys.stdout.write(
        f"{len(sources)} kernels of {given.arch} in {given.precision} compile, {len(spills)} of them spill registers; "
        f"{time.monotonic() - began:.0f} s; {kinds}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
