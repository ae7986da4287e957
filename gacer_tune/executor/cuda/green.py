"""Streams that run on a part of a GPU only: green contexts, which drivers have from CUDA 12.4 on.

The multiprocessors are divided into PARTS groups of the same size, as the driver cuts them; what is left over belongs
to none. A green context has some groups that lie together, and shares everything else with the usual context.
"""

from __future__ import annotations

from typing import Any

from gacer_tune.devices.cuda.gpu import call, sm_groups
from gacer_tune.executor.cuda.owned import Owned

Parts = tuple[int, int]  # groups [first, behind)


class GreenContexts:
    """Those of one GPU, made when they are asked for first. cuda: `cuda.bindings.driver`, a context being current."""

    def __init__(self, cuda: Any, owned: Owned, device: int = 0) -> None:
        self.cuda, self._owned = cuda, owned
        self._device = call(cuda.cuDeviceGet(device))
        self._groups = sm_groups(cuda, self._device)
        self._contexts: dict[Parts, Any] = {}

    def stream(self, parts: Parts, priority: int) -> int:
        """A new stream of CUDA's on these parts, which the caller gives back."""
        if parts not in self._contexts:
            chosen = self._groups[slice(*parts)]
            description = call(self.cuda.cuDevResourceGenerateDesc(chosen, len(chosen)))
            flags = int(self.cuda.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM)
            self._contexts[parts] = call(self.cuda.cuGreenCtxCreate(description, self._device, flags))
            self._owned.keep(self._contexts[parts], self.cuda.cuGreenCtxDestroy)
        flags = int(self.cuda.CUstream_flags.CU_STREAM_NON_BLOCKING)
        return int(call(self.cuda.cuGreenCtxStreamCreate(self._contexts[parts], flags, -priority)))
