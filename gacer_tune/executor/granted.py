"""How much time of CPUs the system grants: a container may see all cores of its host and yet have less than that."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from pathlib import Path

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def granted_cpus(groups: Path = _GROUPS, own: Path = _OWN) -> float:
    """As `docker run --cpus 1.5` or a limit of Kubernetes sets it, with control groups of version 1 or 2; inf where
    nothing does. Lanes beyond it would be stopped in the middle of their work, and others would wait for them."""
    found = [inf]
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                top = groups / "cpu" if controllers else groups
                here = top / group.lstrip("/")
                found += [_limit(folder) for folder in (here, *here.parents) if folder.is_relative_to(top)]
    return min(found)


def _limit(folder: Path) -> float:
    """Of one group; without its parents, each of which may set a lower one."""
    with suppress(OSError, ValueError):  # no such group here, or `max`
        quota, period = map(int, (folder / "cpu.max").read_text(encoding="ascii").split())
        return quota / period
    with suppress(OSError, ValueError):
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text("ascii")) for name in ("quota", "period"))
        return quota / period if quota > 0 else inf
    return inf
