"""What the cores could do at most: measured speed of matrix products and of copying."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gacer_tune.bench.blas import best_s
from gacer_tune.events import Event

SIDE = 512
VARIANTS = 4
CHILD_S = 120.0


@dataclass(frozen=True, slots=True)
class Roofline:
    """Of all lanes together. copy counts bytes read and written; sgemm_by: whose product was the faster one."""

    sgemm_flops_s: float
    copy_nbytes_s: float
    sgemm_by: str
    lanes: int

    def least_s(self, flops: int, nbytes: int) -> float:
        """Seconds of one lane below which such a kernel cannot get, if its operands come from memory."""
        return self.lanes * max(flops / self.sgemm_flops_s, nbytes / self.copy_nbytes_s)

    def computes(self, flops: int, nbytes: int) -> bool:
        """Whether arithmetic, not memory, bounds such a kernel."""
        return flops / self.sgemm_flops_s >= nbytes / self.copy_nbytes_s


def measure(cpus: Sequence[int]) -> Roofline:
    """Measure on these CPUs, in a few seconds; the first time our product is compiled, too."""
    command = [sys.executable, "-m", "gacer_tune.bench.blas", ",".join(map(str, cpus))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S, check=True)
    numpy = json.loads(done.stdout)
    product = product_flops_s(cpus)
    by = "our kernel" if product > numpy["sgemm_flops_s"] else "numpy"
    return Roofline(max(product, numpy["sgemm_flops_s"]), numpy["copy_nbytes_s"], by, len(cpus))


def product_flops_s(cpus: Sequence[int]) -> float:
    """Our fastest product of two square matrices, cut over all lanes."""
    from gacer_tune.devices.bench import Bench
    from gacer_tune.devices.profiling import most_variants, with_variant
    from gacer_tune.executor.session import Session
    from gacer_tune.frontend.load import load_model
    from gacer_tune.ir.memory import place
    from gacer_tune.lowering.lower import lower_model
    from gacer_tune.preparing import link_module, machine_here
    from gacer_tune.store.cache import Cache
    from gacer_tune.temporary import temporary_folder
    from gacer_tune.tenants import Model, assemble, functions

    machine = machine_here()
    with temporary_folder() as folder:
        path = folder / "product.onnx"
        path.write_bytes(_product())
        lowered = lower_model(load_model(path), machine, {})
    compiled = assemble([Model("product", "", lowered)], machine, VARIANTS)
    workload, names = compiled.workload, functions(compiled.workload)
    module = link_module(compiled, names, Cache(), _silent)
    session = Session(module, workload, place(workload), names, cpus)
    session.place_weights(compiled.weights.items())
    bench = Bench(session)
    seconds = []
    for variant in range(most_variants(workload)):
        loaded = bench.load(with_variant(workload, len(cpus), variant))
        seconds.append(best_s(lambda loaded=loaded: session.run(loaded)))  # type: ignore[misc]
    return 2 * SIDE**3 / min(seconds)


def _product() -> bytes:
    """input (SIDE, SIDE) times a constant."""
    import onnx
    from onnx import helper, numpy_helper

    weight = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (SIDE, SIDE)) for name in ("input", "output")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weight"], ["output"])],
        "product", ports[:1], ports[1:], [numpy_helper.from_array(weight, "weight")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _silent(_: Event) -> None:
    """Nobody listens."""
