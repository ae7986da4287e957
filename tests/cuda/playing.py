"""Writes an artifact for docs/player.cpp, of two small tenants: `python -m tests.cuda.playing FOLDER`, with stubs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from gacer_tune.executor.cuda.listing import listing
from gacer_tune.ir.lower import lower
from gacer_tune.ir.workload import Buffer, Kernel, Op, Operand, Port, Tenant, Variant, Workload
from gacer_tune.search.streams import stream_per_tenant
from tests.cuda.stubs import load_stubs

NBYTES = 4
WEIGHT = (10, 20, 30, 40)


def tenant(name: str, kinds: tuple[str, ...]) -> Tenant:
    """Kernels from each buffer to the next one."""
    buffers = tuple(Buffer(f"{name}{i}", NBYTES, kind, "w" * (kind == "weight")) for i, kind in enumerate(kinds))  # type: ignore[arg-type]
    ops = tuple(
        Op(f"op{i}", "mapping", (Kernel((Operand(i), Operand(i + 1, True)), (Variant(f"{name}_{i}", NBYTES),)),))
        for i in range(len(kinds) - 1)
    )
    inputs, outputs = (
        tuple(Port(kind, i, (NBYTES,), "uint8") for i, found in enumerate(kinds) if found == kind)
        for kind in ("input", "output")
    )
    return Tenant(name, "", buffers, ops, inputs, outputs)


WORKLOAD = Workload((tenant("a", ("input", "value", "output")), tenant("b", ("weight", "output"))), "cuda")


def main(folder: Path) -> None:
    load_stubs(folder)
    from gacer_tune.executor.cuda.host import Launcher, write_library

    names = [variant.function for one in WORKLOAD.tenants for k in one.kernels for variant in k.variants]
    write_library([Launcher(name, 2, 32) for name in names], b"code", folder / "module.so")
    save_file({"v": np.zeros(3, np.uint8), "w": np.array(WEIGHT, np.uint8)}, folder / "weights.safetensors")
    schedule = replace(stream_per_tenant(WORKLOAD, 2), priorities=(0, 2))
    (folder / "plan.txt").write_text(listing(WORKLOAD, lower(WORKLOAD, schedule)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
