"""Compiles the distinct kernels of all models: `python -m tests.gpu.compile_all --precision fp16 [NAME...]`.

A long check: thousands of kernels, about 0.1 s each with NVRTC and 1 s with nvcc. What the compiler said of a source is
kept in the cache under its text, so a run that stopped (`--seconds`) goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from statistics import median
from typing import get_args

from gacer_tune.kernels.cuda import nvrtc
from gacer_tune.kernels.cuda.compile import (
    FLAGS,
    CompileError,
    Resources,
    compile_source,
    device_functions,
    source_of,
)
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu, Precision
from gacer_tune.kernels.cuda.occupancy import blocks_per_sm
from gacer_tune.kernels.rules import Source, rule
from gacer_tune.store.cache import Cache
from gacer_tune.tenants import Model, assemble
from models import MODELS
from tests.support.compiled import lowered_alone
from tests.support.small_models import SMALL

Found = dict[Source, Resources | CompileError]  # in the order in which they were asked for


def distinct(names: Sequence[str], gpu: Gpu, most: int, full: bool) -> Iterator[Source]:
    """The sources of all kernels of these models, `most` variants of each, every one once."""
    seen: set[str] = set()
    for name in names:
        made = assemble([Model(name, "0" * 64, lowered_alone((MODELS if full else SMALL)[name](), gpu))], gpu, most)
        for function, source in made.sources.items():
            if function not in seen:
                seen.add(function)
                yield source


def compile_each(sources: Iterable[Source], gpu: Gpu, seconds: float) -> Found:
    """What compiling them gave, as many as there is time for."""
    cache, until = Cache(), time.monotonic() + seconds
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        waiting: dict[Source, Future[Resources | CompileError]] = {}
        for number, source in enumerate(sources):
            if time.monotonic() > until:
                break
            waiting[source] = pool.submit(resources_of, source_of(source.emit("kernel"), gpu), gpu, cache)
            if number % 100 == 99:
                sys.stderr.write(f"{number + 1} kernels\n")
        return {source: future.result() for source, future in waiting.items()}


def resources_of(text: str, gpu: Gpu, cache: Cache) -> Resources | CompileError:
    parts = (gpu.arch, str(nvrtc.available()), *FLAGS, device_functions(), text)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    if (kept := cache.get_json(key)) is not None:
        return Resources(**kept)
    try:
        found = compile_source(text, gpu.arch).resources
    except CompileError as error:
        return error
    cache.put_json(key, asdict(found))
    return found


def table(found: Found, gpu: Gpu) -> str:
    """A line for each rule, and one for all; blocks: at a time on one multiprocessor, registers: of a thread."""
    by_rule: dict[str, list[Resources]] = defaultdict(list)
    for source, resources in found.items():
        if isinstance(resources, Resources):
            by_rule[rule(source.spec)].append(resources)
    everything = [resources for row in by_rule.values() for resources in row]
    head = "| rule | kernels | registers, median | most | shared KiB, most | blocks, least | spill |"
    lines = [head, "|---" * 7 + "|"]
    for name, row in (*sorted(by_rule.items()), ("all", everything)):
        registers = [one.registers for one in row]
        blocks = min(blocks_per_sm(one, gpu.arch) for one in row)
        shared, spill = max(one.shared_nbytes for one in row) / 1024, sum(one.spill_nbytes > 0 for one in row)
        cells = (name, len(row), f"{median(registers):.0f}", max(registers), f"{shared:.1f}", blocks, spill)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile all kernels of the models for a GPU.")
    parser.add_argument("names", nargs="*", help="models; all unless given")
    parser.add_argument("--arch", default="sm_90", choices=sorted(GPUS))
    parser.add_argument("--precision", default="fp16", choices=get_args(Precision))
    parser.add_argument("--variants", type=int, default=8, help="at most so many of each kernel")
    parser.add_argument("--full", action="store_true", help="the models as they are, not their small versions")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop then; the next run goes on")
    given = parser.parse_args(arguments)
    gpu = replace(GPUS[given.arch], precision=given.precision)
    names = given.names or sorted(MODELS if given.full else SMALL)
    began = time.monotonic()
    sources = list(distinct(names, gpu, given.variants, given.full))
    found = compile_each(sources, gpu, given.seconds)
    for source, resources in found.items():
        if isinstance(resources, CompileError):
            sys.stdout.write(f"fails: {source}\n{resources}\n")
        elif resources.spill_nbytes:
            sys.stdout.write(f"spills: {rule(source.spec)} {source.tile} {resources}\n")
    failed = sum(isinstance(resources, CompileError) for resources in found.values())
    sys.stdout.write(
        f"{len(names)} models for {given.arch} in {given.precision}: {len(found) - failed} of {len(sources)} kernels "
        f"compile, {failed} fail, {len(sources) - len(found)} were not tried; {time.monotonic() - began:.0f} s\n"
        f"{table(found, gpu)}\n"
    )
    return 0 if len(found) - failed == len(sources) else 1


if __name__ == "__main__":
    sys.exit(main())
