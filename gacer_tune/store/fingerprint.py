"""What a machine is, as far as measured times depend on it."""

import json
import os
import platform
from collections.abc import Collection
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from gacer_tune.errors import UserError
from gacer_tune.store.canonical import canonical_json, digest
from gacer_tune.store.durable import refusing

RELEVANT_FLAGS = (
    *("avx", "f16c", "fma", "bmi2", "avx2", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
)
VNNI = {"avx2": "avx_vnni", "avx512": "avx512_vnni"}  # the flag of what multiplies bytes in vectors of this size
WITH_BYTES = "-vnni"  # behind the name of an instruction set: what an artifact needs that multiplies bytes
_AVX2 = {"avx2", "fma"}
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_X86_64 = ("x86_64", "amd64")
_PACKAGES = ("apache-tvm", "apache-tvm-ffi")
_CPUINFO = Path("/proc/cpuinfo")
_CPUS = Path("/sys/devices/system/cpu")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Processor:
    """The first processor of /proc/cpuinfo; `model_id` is vendor/family/model/stepping, for virtual machines go by
    names that say little."""

    name: str
    model_id: str
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One machine as this process sees it.

    `cores` are the logical ones this process may use; `caches` are those of the first of them that hold data, as
    (name, bytes) like ("L1d", 32768), none where the system does not tell; `packages` as (name, version).
    """

    machine: str
    cpu: str
    cpu_id: str
    flags: tuple[str, ...]
    cores: int
    caches: tuple[tuple[str, int], ...]
    memory_nbytes: int
    system: str
    python: str
    packages: tuple[tuple[str, str], ...]

    @property
    def isa(self) -> str:
        """The widest instruction set we compile for: avx512, avx2 or x86-64."""
        return isa_of(self.flags)

    @property
    def multiplies_bytes(self) -> bool:
        """Whether it has VNNI for the widest vectors."""
        return VNNI.get(self.isa) in self.flags

    def key(self) -> str:
        """64 hex digits over what changes the time or the bytes of a kernel.

        Left out: memory size (it decides whether a workload fits, not how fast it is), and operating system and Python
        (no kernel calls either), so that an upgrade of those does not throw away measurements.
        """
        return digest([self.machine, self.cpu, self.cpu_id, self.flags, self.cores, self.caches, self.packages])

    def document(self) -> dict[str, Any]:
        """JSON values, equal to themselves after a round trip through a file."""
        document: dict[str, Any] = json.loads(canonical_json(asdict(self)))
        return document


def host_fingerprint() -> Fingerprint:
    """The machine we run on; raises UserError where it is not Linux on x86-64."""
    machine = require_x86_64(platform.machine())
    with refusing(_CPUINFO, "Linux on x86-64 is what is supported; cannot be read"):
        processor = parse_cpuinfo(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
    usable = os.sched_getaffinity(0)
    return Fingerprint(
        machine=machine,
        cpu=processor.name,
        cpu_id=processor.model_id,
        flags=tuple(flag for flag in RELEVANT_FLAGS if flag in processor.flags),
        cores=len(usable),
        caches=cache_sizes(_CPUS / f"cpu{min(usable)}" / "cache"),
        memory_nbytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=versions(*_PACKAGES),
    )


def require_x86_64(machine: str) -> str:
    """The one name, x86_64, of a machine that systems call differently; UserError for another machine."""
    if machine.lower() not in _X86_64:
        raise UserError(f"machine {machine or 'unknown'}: only x86-64 is supported")
    return _X86_64[0]


def isa_of(flags: Collection[str]) -> str:
    """The widest instruction set that all of its flags (as in /proc/cpuinfo) allow.

    "avx512" needs F, BW, CD, DQ and VL together (x86-64-v4: some chips and hypervisors offer fewer), it and "avx2" need
    AVX2 and FMA; else "x86-64".
    """
    if set(flags) >= _AVX512:
        return "avx512"
    return "avx2" if set(flags) >= _AVX2 else "x86-64"


def parse_cpuinfo(text: str) -> Processor:
    """The first processor described in the text of /proc/cpuinfo of an x86 machine; UserError if it lists no flags."""
    first = text.strip().split("\n\n", maxsplit=1)[0]
    pairs = (line.split(":", maxsplit=1) for line in first.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in pairs}
    if "flags" not in facts:
        raise UserError(f"{_CPUINFO}: lists no flags of the processor, only x86-64 is supported")
    model = (facts.get(name, "?") for name in ("vendor_id", "cpu family", "model", "stepping"))
    return Processor(facts.get("model name", "unknown"), "/".join(model), frozenset(facts["flags"].split()))


def cache_sizes(folder: Path) -> tuple[tuple[str, int], ...]:
    """Data and unified caches from a folder like /sys/devices/system/cpu/cpu0/cache, as (name, bytes), by name."""
    found = (_cache_size(index) for index in folder.glob("index*"))
    return tuple(sorted(cache for cache in found if cache is not None))


def _cache_size(index: Path) -> tuple[str, int] | None:
    try:
        level, kind, size = ((index / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size"))
        nbytes = int(size[:-1]) * _UNITS[size[-1]] if size[-1:] in _UNITS else int(size)
    except (OSError, ValueError):
        # Virtual machines leave parts of this out; an unknown size is no reason not to run.
        return None
    return None if kind == "Instruction" else (f"L{level}{'d' if kind == 'Data' else ''}", nbytes)


def versions(*packages: str) -> tuple[tuple[str, str], ...]:
    """(package, version) of each."""
    return tuple((name, _version(name)) for name in packages)


def _version(package: str) -> str:
    """The installed version, without importing the package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
