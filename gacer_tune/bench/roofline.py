"""What the cores could do at most: measured speed of matrix products and of copying."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gacer_tune.bench.blas import median
from gacer_tune.events import Event
from gacer_tune.processes import program

if TYPE_CHECKING:
    from gacer_tune.devices.bench import Bench
    from gacer_tune.executor.session import Loaded

SIDE = 512
VARIANTS = 4


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


@dataclass(frozen=True, slots=True)
class Turn:
    """Speeds at one moment: our product of two square matrices, numpy's, and copying."""

    ours_flops_s: float
    numpy_flops_s: float
    copy_nbytes_s: float


def roofline(turns: Sequence[Turn], lanes: int) -> Roofline:
    """Medians over the turns, of the product that is the faster one by them."""
    ours = statistics.median(turn.ours_flops_s for turn in turns)
    numpy = statistics.median(turn.numpy_flops_s for turn in turns)
    copy = statistics.median(turn.copy_nbytes_s for turn in turns)
    return Roofline(max(ours, numpy), copy, "our kernel" if ours > numpy else "numpy", lanes)


@contextmanager
def measuring(cpus: Sequence[int], precision: str = "fp32") -> Iterator[Callable[[], Turn]]:
    """What measures on these CPUs whenever it is called, for a third of a second; first our product is compiled.

    precision: of our product; numpy's is float32.
    """
    command = [*program("gacer_tune.bench.blas"), ",".join(map(str, cpus))]
    product = _product_here(cpus, precision)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as numpy:
        asked, told = numpy.stdin, numpy.stdout
        assert asked is not None and told is not None

        def turn() -> Turn:
            ours = product()  # over before numpy is asked
            asked.write("\n")
            numpys = json.loads(told.readline())
            return Turn(ours, numpys["sgemm_flops_s"], numpys["copy_nbytes_s"])

        yield turn


def _product_here(cpus: Sequence[int], precision: str) -> Callable[[], float]:
    """Measures operations a second of our fastest product of two square matrices, cut over all lanes.

    While lanes work at it, as kernels of an artifact are timed: a fifth of a run may pass until all lanes are awake.
    """
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

    machine = machine_here(precision)
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
    plans = [bench.load(with_variant(workload, len(cpus), variant)) for variant in range(most_variants(workload))]
    return lambda: 2 * SIDE**3 / min(lanes_s(bench, plan) for plan in plans)


def lanes_s(bench: Bench, plan: Loaded) -> float:
    """Median seconds that a lane works in a run."""

    def worked_s() -> float:
        bench.session.run(plan)
        return int(plan.worked().sum()) / bench.hertz / len(bench.session.cpus)

    return median(worked_s)


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
