"""What control groups grant, in the files of both versions, of a group and of those above it."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from gacer_tune import targets
from gacer_tune.executor import threads
from gacer_tune.executor.granted import granted_cpus
from gacer_tune.settings import Settings
from gacer_tune.tenant_settings import TenantSettings


def granted(folder: Path, own: str, files: dict[str, str]) -> float:
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "own").write_text(own)
    return granted_cpus(folder / "groups", folder / "own")


@pytest.mark.parametrize(
    ("own", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, inf),
        ("0::/\n", {}, inf),
        ("0::/user/job\n", {"user/cpu.max": "200000 100000", "user/job/cpu.max": "max 100000"}, 2),
        ("0::/user/job\n", {"user/cpu.max": "200000 100000", "user/job/cpu.max": "50000 100000"}, 0.5),
        ("0::/user\n", {"other/cpu.max": "1000 100000"}, inf),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, inf),
        ("2:cpuset:/\n1:cpu:/host\n", {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "50000"}, 5),
        ("2:cpuset:/a\n", {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "50000"}, inf),
    ],
)
def test_the_least_of_a_group_and_those_above_it(tmp_path: Path, own: str, files: dict[str, str], cpus: float) -> None:
    assert granted(tmp_path, own, files) == cpus


def test_a_system_without_groups_grants_all(tmp_path: Path) -> None:
    assert granted_cpus(tmp_path, tmp_path / "none") == inf


@pytest.mark.parametrize(("granted", "lanes"), [(inf, 4), (16.0, 4), (2.5, 2), (1.0, 1), (0.25, 1)])
def test_no_more_lanes_than_what_is_granted_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, granted: float, lanes: int
) -> None:
    monkeypatch.setattr(threads, "allowed_cpus", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(targets, "granted_cpus", lambda: granted)
    settings = Settings(tenants=(TenantSettings(path=Path("a.onnx")),))
    assert len(targets.lanes_of(settings)) == lanes
    assert len(targets.lanes_of(settings.model_copy(update={"lanes": 3}))) == 3
