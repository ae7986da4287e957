import dataclasses
import json
import os
import platform
from pathlib import Path

import pytest

from gacer_tune.errors import UserError
from gacer_tune.store import fingerprint as fingerprint_module
from gacer_tune.store.fingerprint import (
    Fingerprint,
    cache_sizes,
    host_fingerprint,
    isa_of,
    parse_cpuinfo,
    require_x86_64,
)

from .conftest import Start

AVX512_FLAGS = "avx512f avx512dq avx512cd avx512bw avx512vl"

SERVER = f"""processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
stepping\t: 8
cache size\t: 107520 KB
flags\t\t: fpu sse2 fma avx f16c bmi2 avx2 {AVX512_FLAGS} avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8
vmx flags\t: vnmi preemption_timer
bugs\t\t: spectre_v1

processor\t: 1
vendor_id\t: Other
model name\t: Other
flags\t\t: fpu
"""
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\n"

MACHINE = Fingerprint(
    machine="x86_64",
    cpu="Some CPU",
    cpu_id="GenuineIntel/6/143/8",
    flags=("fma", "avx2"),
    cores=4,
    caches=(("L1d", 32768), ("L3", 1 << 25)),
    memory_nbytes=1 << 34,
    system="Linux 6.1",
    python="3.11.7",
    packages=(("apache-tvm", "0.27.0"),),
)


def test_the_first_processor_is_read() -> None:
    processor = parse_cpuinfo(SERVER)
    assert processor.name == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert processor.model_id == "GenuineIntel/6/143/8"
    assert {"amx_tile", "avx512_bf16", "sse2"} <= processor.flags
    assert not {"vnmi", ":"} & processor.flags
    assert isa_of(processor.flags) == "avx512"


def test_a_processor_may_be_described_sparsely() -> None:
    processor = parse_cpuinfo("flags: avx2 fma\n")
    assert (processor.name, processor.model_id, processor.flags) == ("unknown", "?/?/?/?", frozenset({"avx2", "fma"}))


@pytest.mark.parametrize("text", ["", "\n\n", ARM])
def test_a_text_without_flags_is_not_that_of_an_x86(text: str) -> None:
    with pytest.raises(UserError, match=r"^/proc/cpuinfo: lists no flags of the processor, only x86-64 is supported$"):
        parse_cpuinfo(text)


@pytest.mark.parametrize(
    ("flags", "isa"),
    [
        (f"avx2 fma {AVX512_FLAGS}", "avx512"),
        (f"avx2 fma {AVX512_FLAGS.replace('avx512vl', '')}", "avx2"),
        ("avx2 fma avx512f avx512cd avx512er avx512pf", "avx2"),
        (AVX512_FLAGS, "x86-64"),
        ("avx2 fma", "avx2"),
        ("avx2", "x86-64"),
        ("avx fma sse4_2", "x86-64"),
        ("", "x86-64"),
    ],
)
def test_an_instruction_set_needs_all_of_its_flags(flags: str, isa: str) -> None:
    assert isa_of(flags.split()) == isa
    assert isa_of(frozenset(flags.split())) == isa


def test_other_machines_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert require_x86_64("AMD64") == require_x86_64("x86_64") == "x86_64"
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(UserError, match=r"^machine aarch64: only x86-64 is supported$"):
        host_fingerprint()
    with pytest.raises(UserError, match=r"^machine unknown: only x86-64 is supported$"):
        require_x86_64("")


def test_a_system_without_cpuinfo_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(fingerprint_module, "_CPUINFO", tmp_path / "cpuinfo")
    with pytest.raises(UserError, match=r"cpuinfo: Linux on x86-64 is what is supported; cannot be read: no such file"):
        host_fingerprint()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"memory_nbytes": 1}, True),
        ({"system": "Linux 7"}, True),
        ({"python": "3.12.0"}, True),
        ({"cpu": "Other CPU"}, False),
        ({"cpu_id": "GenuineIntel/6/143/9"}, False),
        ({"flags": ("avx2",)}, False),
        ({"cores": 5}, False),
        ({"caches": (("L1d", 32768),)}, False),
        ({"packages": (("apache-tvm", "0.28.0"),)}, False),
        ({"machine": "riscv64"}, False),
    ],
)
def test_the_key_goes_by_what_changes_performance(change: dict[str, object], same: bool) -> None:
    changed = dataclasses.replace(MACHINE, **change)  # type: ignore[arg-type]
    assert (changed.key() == MACHINE.key()) is same
    assert len(MACHINE.key()) == 64


def test_the_document_is_equal_to_itself_after_a_round_trip() -> None:
    document = MACHINE.document()
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {field.name for field in dataclasses.fields(Fingerprint)}
    assert document["caches"] == [["L1d", 32768], ["L3", 33554432]]


def test_cache_sizes_come_from_the_folder_of_a_core(tmp_path: Path) -> None:
    described = {
        "index0": ("1", "Data", "48K"),
        "index1": ("1", "Instruction", "32K"),
        "index2": ("2", "Unified", "2M"),
        "index3": ("3", "Unified", "107520K\n"),
        "index4": ("4", "Unified", "?"),
        "index5": ("4", "Unified", ""),
        "index6": ("4", "Unified"),
    }
    for index, values in described.items():
        (tmp_path / index).mkdir()
        for name, value in zip(("level", "type", "size"), values, strict=False):
            (tmp_path / index / name).write_text(value)
    assert cache_sizes(tmp_path) == (("L1d", 49152), ("L2", 2 << 20), ("L3", 107520 << 10))
    assert cache_sizes(tmp_path / "none") == ()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 is what is supported")
def test_this_machine_has_a_fingerprint() -> None:
    fingerprint = host_fingerprint()
    assert fingerprint == host_fingerprint()
    assert fingerprint.cores == len(os.sched_getaffinity(0))
    assert fingerprint.isa in ("avx512", "avx2", "x86-64")
    assert fingerprint.memory_nbytes > 1 << 28
    assert dict(fingerprint.packages)["apache-tvm"][0].isdigit()
    assert fingerprint.cpu
    assert fingerprint.cpu_id.count("/") >= 3


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 is what is supported")
def test_only_the_cores_this_process_may_use_count() -> None:
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(usable)})
    try:
        assert host_fingerprint().cores == 1
    finally:
        os.sched_setaffinity(0, usable)


def test_a_package_that_is_not_there_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint_module, "_PACKAGES", ("no-such-package-here",))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert host_fingerprint().packages == (("no-such-package-here", "not installed"),)


def test_the_store_knows_nothing_of_models_or_compilers(start: Start) -> None:
    code = (
        "import sys\n"
        "from gacer_tune.store import cache, canonical, durable, fingerprint, journal, lock, publish\n"
        "fingerprint.host_fingerprint()\n"
        "print(sorted({'tvm', 'tvm_ffi', 'onnx', 'numpy', 'torch', 'xgboost'} & set(sys.modules)))"
    )
    assert start(code).communicate(timeout=30)[0] == "[]\n"
