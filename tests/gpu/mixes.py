"""A mix of `tests.gpu.bundle`, opened on a GPU or, for a dry run, on a driver that computes zeros."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from gacer_tune import inputs
from gacer_tune.devices.bench import SEED
from gacer_tune.devices.cuda.bench import CudaBench
from gacer_tune.executor.cuda.session import CudaSession
from gacer_tune.ir.memory import place
from gacer_tune.ir.workload import Workload
from tests.gpu import likeness


@dataclass(frozen=True)
class Mix:
    """`bench` has the sample inputs of SEED; canonical: the models as our frontend sees them.

    models: small ones, as they are.
    """

    name: str
    precision: str
    workload: Workload
    bench: CudaBench
    models: tuple[Path, ...]
    canonical: tuple[Path, ...]

    def feeds(self, tenant: int) -> dict[str, Any]:
        return inputs.sample(self.workload.tenants[tenant], SEED)

    def expected(self, tenant: int) -> list[Any]:
        """Outputs of ONNX Runtime on the CPU, in float32."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        model = onnx.load(str(self.models[tenant]))
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [port.name for port in self.workload.tenants[tenant].outputs]
        return list(session.run(names, self.feeds(tenant)))


def zeros(_function: str, operands: Sequence[Any], _span: tuple[int, int]) -> None:
    """Stands for every kernel in a dry run."""
    operands[-1][: 1 << 20] = 0


def open_mix(folder: Path, lanes: int, dry: bool) -> Mix:
    described = json.loads((folder / "workload.json").read_text())
    workload = Workload.from_json(described["workload"])
    if dry:
        from tests.cuda.fake_driver import FakeDriver

        driver: Any = FakeDriver(zeros)
    else:
        from gacer_tune.executor.cuda.nvidia import Nvidia

        driver = Nvidia(folder / "module.so")
    session = CudaSession(driver, workload, place(workload), lanes)
    session.flush_nbytes = 1 << 10 if dry else session.flush_nbytes
    session.place_weights(likeness.read_weights(folder))
    count = len(workload.tenants)
    files = (tuple(folder / f"{number}{end}.onnx" for number in range(count)) for end in ("", ".canonical"))
    return Mix(folder.name, described["precision"], workload, CudaBench(session), *files)


def folders(root: Path, small: bool) -> list[Path]:
    """The mixes of a bundle, of small models or of large ones."""
    found = sorted(path.parent for path in root.glob("*/workload.json"))
    return [path for path in found if path.name.endswith("-small") == small]
