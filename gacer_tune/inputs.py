"""Sample inputs: seeded, so that every process that asks gets the same ones."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gacer_tune.ir.workload import Port, Tenant

Array = NDArray[Any]
WORDS = 100  # integers below this where nothing says what an integer input means


def sample(tenant: Tenant, seed: int) -> dict[str, Array]:
    """Random inputs of one tenant by name: normal floats, integers below the port's bound, booleans."""
    rng = np.random.default_rng((seed, zlib.crc32(tenant.name.encode())))  # instances differ
    return {port.name: _sample(port, rng) for port in tenant.inputs}


def _sample(port: Port, rng: np.random.Generator) -> Array:
    dtype = np.dtype(port.dtype)
    if dtype.kind == "f":
        return rng.standard_normal(port.shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(port.shape) < 0.5
    top = min(port.bound or WORDS, int(np.iinfo(dtype).max))
    return rng.integers(0, top, port.shape).astype(dtype)
