"""AMX: whether this processor has it, and the system's leave to use it."""

from __future__ import annotations

import ctypes

from gacer_tune.errors import UserError
from gacer_tune.store.fingerprint import host_fingerprint

FLAGS = frozenset(("amx_tile", "amx_bf16", "avx512_bf16", "avx512bw", "avx512dq", "avx512vl"))
# arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux gives a process the state of tiles when it asks for it.
ARCH_PRCTL, REQUEST, TILE_DATA = 158, 0x1023, 18


def missing() -> str:
    """What keeps tiles of bfloat16 from being used here; nothing where they can be. This process may use them then."""
    lacks = sorted(FLAGS.difference(host_fingerprint().flags))
    if lacks:
        return f"this processor lacks {', '.join(lacks)}"
    if ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST, TILE_DATA) != 0:
        return "the system does not let this process use AMX (Linux 5.16 or newer does)"
    return ""


def require(what: str) -> None:
    """Raises UserError that begins with `what` where tiles cannot be used."""
    if why := missing():
        raise UserError(f"{what}: {why}")
