"""What kernels will take of a GPU, before they are compiled: nearly what ptxas says of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gacer_tune.kernels.cuda.compile import Resources
from gacer_tune.kernels.cuda.gpu import Gpu
from gacer_tune.kernels.cuda.occupancy import blocks_per_sm
from gacer_tune.kernels.cuda.product import ProductTile
from gacer_tune.kernels.rules import Source, module, rule

# Registers of a thread as compiled: of products by precision and rows of a warp (docs/decisions/0006), of other rules
# the median over the kernels of all models (`python -m tests.gpu.compile_all`), of those not named the last number.
PRODUCTS = MappingProxyType(
    {
        "fp16": MappingProxyType({16: 64, 32: 90, 64: 128}),
        "tf32": MappingProxyType({16: 72, 32: 91, 64: 128}),
        "fp32": MappingProxyType({16: 87, 32: 109, 64: 169}),
    }
)
OTHERS = MappingProxyType(
    {"depthwise": 72, "mapping": 44, "pool": 56, "rows": 32, "reduce": 12, "gather": 21, "lrn": 28}
)
UNKNOWN = 40


def estimated(source: Source) -> Resources:
    """Threads and shared memory are exact for products, whose blocks they limit; elsewhere little memory is shared."""
    spec, tile, gpu = source.spec, source.tile, source.machine
    assert isinstance(gpu, Gpu)
    if not isinstance(tile, ProductTile):
        return Resources(OTHERS.get(rule(spec), UNKNOWN), 0, 0, tile.threads)
    steps = module(spec, gpu).product_of(spec).steps(gpu)
    return Resources(PRODUCTS[gpu.precision][tile.warp_rows], 4 * tile.shared_words(steps), 0, tile.threads)


def resident_blocks(sources: Mapping[str, Source]) -> dict[str, int]:
    """By function: blocks of it that one multiprocessor runs at a time."""
    return {name: blocks_per_sm(estimated(source), source.machine.isa) for name, source in sources.items()}
