"""A tuning run in which candidates crash, hang, run out of memory or answer wrongly, at random.

python -m tests.soak.tuner FOLDER SEED BUDGET_S PROBABILITY [FILE_NBYTES]

The models are FOLDER/*.onnx, the artifact is FOLDER/out. Every trial that was announced is noted in FOLDER/announced:
after it was announced, the user may rely on it. FILE_NBYTES: no file may grow beyond it, like on a disk that is full.
"""

from __future__ import annotations

import math
import os
import random
import resource
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gacer_tune import tuning
from gacer_tune.devices.child import ChildDevice
from gacer_tune.errors import UserError
from gacer_tune.events import Event
from gacer_tune.ir.schedule import Schedule
from gacer_tune.search.beside import Anchor
from gacer_tune.search.trial import Failure, Timing
from gacer_tune.settings import Settings
from gacer_tune.tenant_settings import TenantSettings
from tests.support.compiled import FOLDER

HANG_S = 1.0  # what a candidate may take here
INJECTED = ("crash", "hang", "memory", "wrong-output", "killed")


@dataclass
class TroubledDevice(ChildDevice):
    """A look at a candidate goes wrong with `probability`, until the search is over."""

    probability: float = 0.0
    rng: random.Random = field(default_factory=random.Random)

    def beside(self, anchor: Anchor, schedule: Schedule, pairs: int, give_up_s: float = math.inf) -> Timing | Failure:
        if self.rng.random() >= self.probability:
            return super().beside(anchor, schedule, pairs, give_up_s)
        trouble = self.rng.choice(INJECTED)
        limits = self.limits
        if trouble == "killed":
            if self._child is not None:
                os.kill(self._child.pid, signal.SIGKILL)
        else:
            self.close()  # faults are told to the child when it starts
            self.faults, self.limits = {schedule.digest: trouble}, replace(limits, answer_s=HANG_S)
        result = super().beside(anchor, schedule, pairs, give_up_s)
        if trouble != "killed":
            self.close()
        self.faults, self.limits = {}, limits
        return result


def main(arguments: list[str]) -> int:
    folder, seed, budget_s, probability = Path(arguments[0]), int(arguments[1]), arguments[2], float(arguments[3])
    if len(arguments) > 4:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(arguments[4]),) * 2)
    rng = random.Random(seed)

    devices: list[TroubledDevice] = []

    def troubled(*given: Any) -> TroubledDevice:
        """As open_device, which ends with the folder and the CPUs."""
        place, cpus = given[-2:]
        devices.append(TroubledDevice(place, cpus, probability=probability, rng=rng))
        return devices[-1]

    assert callable(tuning.open_device), "where the tuner gets its device from"
    tuning.open_device = troubled
    settings = Settings(
        tenants=tuple(TenantSettings(path=path) for path in sorted(folder.glob("*.onnx"))),
        budget_s=float(budget_s), out=folder / "out", resume=True, cache=FOLDER / "cache", early_stop=False,
    )  # fmt: skip
    announced = os.open(folder / "announced", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def listen(event: Event) -> None:
        if event.stage == "accept":
            devices[-1].probability = 0.0  # what decides is measured in peace
        if event.trial is not None:
            os.write(announced, f"{event.trial.number} {event.trial.schedule.digest}\n".encode())

    try:
        tuning.tune(settings, listen)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
