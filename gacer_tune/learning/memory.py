"""What earlier searches on this machine have measured, and the model that the next search starts with.

Both are files of the cache, under keys that hold all that makes samples comparable: the version of the features, the
machine, the target and the number of lanes. Another version of ours finds nothing there and starts afresh.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gacer_tune.cost_model.features import FEATURES_VERSION, NAMES
from gacer_tune.cost_model.model import CostModel, fit
from gacer_tune.learning.samples import Samples
from gacer_tune.store.cache import Cache
from gacer_tune.store.canonical import digest
from gacer_tune.store.fingerprint import host_fingerprint

FORMAT = 1
MOST_GROUPS = 12  # the oldest workloads are forgotten first
_COLUMNS = ("features", "simulated_s", "measured_s", "noise")


@dataclass(frozen=True, slots=True)
class Memory:
    """`machine` is what Fingerprint.key says of it."""

    cache: Cache
    machine: str
    target: str
    lanes: int

    def samples(self) -> tuple[Samples, ...]:
        """By workload, the latest last; none where nothing was kept, or nothing that can be read."""
        path = self.cache.get(self._key("samples"))
        try:
            return () if path is None else _unpacked(path.read_bytes())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return ()

    def model(self) -> CostModel | None:
        path = self.cache.get(self._key("model"))
        try:
            return None if path is None else CostModel.from_bytes(path.read_bytes())
        except (OSError, ValueError):
            return None

    def keep(self, new: Samples) -> None:
        """Add the samples of a workload, in place of what was known of it, and fit the model of all of them.

        Of two searches that end at the same moment one may be forgotten.
        """
        others = [known for known in self.samples() if known.group != new.group]
        kept = [*others[-(MOST_GROUPS - 1) :], new]
        self.cache.put(self._key("samples"), _packed(kept), ".npz")
        model = fit([sample for group in kept for sample in group.every()])
        if model.members:
            self.cache.put(self._key("model"), model.to_bytes(), ".ubj")

    def _key(self, what: str) -> str:
        return digest([what, FORMAT, FEATURES_VERSION, self.machine, self.target, self.lanes])


def _packed(groups: Sequence[Samples]) -> bytes:
    names = json.dumps([{"name": group.name, "group": group.group} for group in groups]).encode()
    arrays = {f"{column}{n}": getattr(group, column) for n, group in enumerate(groups) for column in _COLUMNS}
    file = io.BytesIO()
    np.savez_compressed(file, names=np.frombuffer(names, np.uint8), **arrays)
    return file.getvalue()


def _unpacked(data: bytes) -> tuple[Samples, ...]:
    """Raises ValueError, KeyError or BadZipFile for what `_packed` did not make."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        names = json.loads(arrays["names"].tobytes())
        found = [
            Samples(entry["name"], entry["group"], *(arrays[f"{column}{n}"] for column in _COLUMNS))
            for n, entry in enumerate(names)
        ]
    if any(group.features.shape != (len(group), len(NAMES)) for group in found):
        raise ValueError("samples: features of another length")
    return tuple(found)


def memory_here(cache: Cache, lanes: int) -> Memory:
    """Of searches on CPUs of this machine."""
    return Memory(cache, host_fingerprint().key(), "cpu", lanes)
