"""Kernels of an artifact against the roofline, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from gacer_tune.cli.output import Output, printable, table
from gacer_tune.errors import UserError
from gacer_tune.report.units import nbytes_text, number_text, seconds_text

if TYPE_CHECKING:
    from gacer_tune.bench.kernels import KernelRow
    from gacer_tune.runtime import Module


def inspect_kernels(folder: Path, output: Output) -> dict[str, Any]:
    """Run the best schedule, print its kernels, longest first, and return them as JSON values."""
    from gacer_tune.bench.kernels import kernel_rows, products_direct, products_fraction, products_share, record
    from gacer_tune.bench.others import warning
    from gacer_tune.runtime import load

    module = load(folder)
    found = record(module)
    roofline, rows = found.roofline, kernel_rows(module.workload, found.slices, found.seconds, found.roofline)
    share, fraction = products_share(rows, roofline), products_fraction(rows)
    direct = products_direct(module.workload, rows, roofline)
    output.console().print(kernels_table(rows))
    output.say(
        "time is that of lanes, all slices added up; speeds are those of one lane. Roofline: the share of the "
        "product's speed where a kernel has GFLOP/s, of the copy's where it has GB/s, then above 100% if caches serve "
        "it. The footprint is what a work item comes back to while it runs: variants trade it for speed and for more "
        "items."
    )
    compared = _against_onnxruntime(module, rows, output)
    output.say(
        f"roofline of {roofline.lanes} lanes: product {number_text(roofline.sgemm_flops_s / 1e9)} GFLOP/s "
        f"({roofline.sgemm_by}), copy {number_text(roofline.copy_nbytes_s / 1e9)} GB/s"
    )
    if share:
        output.say(
            f"matrix products and convolutions reach {share:.0%} of the product's roofline, weighted by their time, "
            f"and {fraction:.0%} of what product and copy allow them"
            + (f"; {direct:.0%} with the operations that Winograd's filtering saves" if direct > share else "")
        )
    if any(row.kind.startswith("byte_") for row in rows):
        output.say("those of bytes are not counted there: the roofline is that of float32")
    if busy := warning(found.others):
        output.say(f"{busy}, which slows kernels and the roofline, but not equally: look again on a quiet machine")
    document = [{**asdict(row), "flops_s": row.flops_s, "nbytes_s": row.nbytes_s} for row in rows]
    figures = {"roofline": asdict(roofline), "products_share": share}
    figures |= {"products_fraction": fraction, "products_direct": direct}
    return {"kernels": document, **figures, "others": found.others, "onnxruntime": compared}


def _against_onnxruntime(module: Module, rows: Sequence[KernelRow], output: Output) -> list[dict[str, Any]]:
    """Print the ops that ONNX Runtime's profiler knows by name; nothing where it or a model is missing."""
    from gacer_tune.bench import originals
    from gacer_tune.bench.kernels import against_onnxruntime
    from gacer_tune.bench.system import RefusedError

    if find_spec("onnxruntime") is None:
        return []
    try:
        paths = originals.paths([], module.tenants, module.artifact.manifest.get("tenants", []))
        found = against_onnxruntime(module, rows, paths)
    except (UserError, RefusedError) as error:
        output.say(f"not compared with ONNX Runtime: {str(error).partition(';')[0]}")
        return []
    if not found:
        output.say("not compared with ONNX Runtime: its profiler names no op of these models")
        return []
    made = table("op", "kind", "time", "onnxruntime", "ratio", texts=2)
    for row in found:
        times = (seconds_text(row.seconds), seconds_text(row.onnxruntime_s))
        made.add_row(printable(f"{row.tenant}/{row.op}"), printable(row.kind), *times, f"{row.ratio:.2f}")
    output.console().print(made)
    output.say(
        "of ONNX Runtime: the profiled time of its nodes for the same op, times its "
        f"{len(module.session.cpus)} threads; above 1 ours is faster"
    )
    return [{**asdict(row), "ratio": row.ratio} for row in found]


def kernels_table(rows: Sequence[KernelRow]) -> Table:
    names = ("op", "kind", "kernel", "variant", "footprint", "slices", "time", "speed", "share", "roofline")
    made = table(*names, texts=2)
    for row in rows:
        speed = (
            f"{number_text(row.flops_s / 1e9)} GFLOP/s" if row.computes else f"{number_text(row.nbytes_s / 1e9)} GB/s"
        )
        counts = (str(row.kernel), f"{row.variant + 1} of {row.variants}", nbytes_text(row.footprint), str(row.slices))
        shares = (f"{row.share:.1%}", f"{row.fraction:.0%}")
        made.add_row(
            printable(f"{row.tenant}/{row.op}"), printable(row.kind), *counts, seconds_text(row.seconds), speed, *shares
        )
    return made
