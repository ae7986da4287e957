"""Compiles mixes of models here for a GPU elsewhere: `python -m tests.gpu.bundle OUT [--mix MODEL+MODEL]`.

Where the mixes are measured there may be no TVM, no compiler and no network. OUT/1, OUT/2 ... are parts of a size that
can be sent, each complete by itself: an archive for each mix has all that running it takes (module.so, weights, and
workload.json as for a measuring child, the models as our frontend sees them, small ones also as they are), and `site`
holds TVM's runtime libraries as a package, to be put on PYTHONPATH there. What OUT/mixes has already is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import onnx

from gacer_tune.events import Event, Listen
from gacer_tune.executor.cuda.libraries import CUDART, in_packages
from gacer_tune.executor.cuda.module import module_of
from gacer_tune.frontend.load import load_model
from gacer_tune.frontend.shapes import input_bounds
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu, Precision
from gacer_tune.lowering.lower import lower_model
from gacer_tune.store.cache import Cache
from gacer_tune.store.tensors import save_weights
from gacer_tune.tenants import Model, assemble, functions
from models import MODELS
from models.transformer import BERT_SMALL, VIT_TINY, bert, vit
from tests.bench.sets import TOGETHER
from tests.cuda.stubs import compile_stubs, load_stubs
from tests.gpu import likeness
from tests.support.small_models import SMALL, TABLE_ROWS

MIXES = (*TOGETHER[:7], "tiny_yolo+resnet18+bert_small")
BATCHES = (1, 8)
PART_NBYTES = 48 << 20  # what is sent at once, without the checkout
# Transformers that are checked have one layer as wide as that of the models that are measured: it has all the kernels.
CHECKED = {
    **SMALL,
    "bert_small": partial(bert, sequence=8, vocab=TABLE_ROWS, size=replace(BERT_SMALL, layers=1)),
    "vit_tiny": partial(vit, resolution=32, classes=10, size=replace(VIT_TINY, layers=1)),
}
CARRIED = ("platformdirs",)  # packages that a GPU machine need not have; of Python alone
LIBRARIES = ("libtvm_runtime.so", "libtvm_runtime_cuda.so")


@dataclass(frozen=True, slots=True)
class Bundle:
    """One mix: how its models are made small or not, at which batch and precision."""

    mix: str
    batch: int
    precision: str
    small: bool

    @property
    def name(self) -> str:
        return f"{self.mix}-b{self.batch}-{self.precision}{'-small' if self.small else ''}"


def wanted(mixes: Sequence[str] = MIXES, batches: Sequence[int] = BATCHES) -> list[Bundle]:
    """Of one mix after the other: small models at every precision to be checked, large ones at fp16 to be measured."""
    found = []
    for mix in mixes:
        found += [Bundle(mix, 1, precision, True) for precision in get_args(Precision)]
        found += [Bundle(mix, batch, "fp16", False) for batch in batches]
    return found


def write(bundle: Bundle, folder: Path, cache: Cache, most: int) -> None:
    """Compile one mix into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    gpu: Gpu = replace(GPUS["sm_90"], precision=bundle.precision)  # type: ignore[arg-type]
    lowered = []
    for number, name in enumerate(bundle.mix.split("+")):
        path = folder / f"{number}.onnx"
        onnx.save((CHECKED if bundle.small else MODELS)[name](batch=bundle.batch), str(path))
        canonical = load_model(path)
        if not bundle.small:
            path.unlink()  # only outputs of small models are checked against it
        onnx.save(likeness.without_weights(canonical), str(folder / f"{number}.canonical.onnx"))
        low = lower_model(canonical, gpu, input_bounds(canonical))
        lowered.append(Model(name, "0" * 64, low, bundle.batch))
    made = assemble(lowered, gpu, most)
    names = functions(made.workload)
    (folder / "module.so").write_bytes(module_of([made.sources[n] for n in names], cache, progress(bundle.name)))
    if bundle.small:
        save_weights(folder / "weights.safetensors", made.weights.items())
    else:
        likeness.save_weights(folder, made.weights)
    described = {"workload": made.workload.to_json(), "functions": list(names), "precision": bundle.precision}
    (folder / "workload.json").write_text(json.dumps(described))


def progress(name: str) -> Listen:
    def listen(event: Event) -> None:
        if event.done == event.total:
            sys.stderr.write(f"{name}: {event.total} kernels\n")

    return listen


def pack(bundle: Bundle, mixes: Path, cache: Cache, most: int) -> Path:
    """The archive of a mix; what there is already stays."""
    archive = mixes / f"{bundle.name}.tar.xz"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=mixes) as folder:
            made = Path(folder) / bundle.name
            write(bundle, made, cache, most)
            with tarfile.open(Path(folder) / archive.name, "w:xz") as tar:
                tar.add(made, bundle.name)
            (Path(folder) / archive.name).rename(archive)
    return archive


def parts(mixes: Sequence[Sequence[Path]], most_nbytes: int) -> list[list[Path]]:
    """Archives of whole mixes, in parts of at most so many bytes; those of a mix that is larger stand alone."""
    found: list[list[Path]] = []
    left = 0
    for archives in mixes:
        together = sum(path.stat().st_size for path in archives) <= most_nbytes
        for some in [archives] if together else [[path] for path in archives]:
            nbytes = sum(path.stat().st_size for path in some)
            if not found or nbytes > left:
                found.append([])
                left = most_nbytes
            found[-1] += some
            left -= nbytes
    return found


def copy_runtime(site: Path) -> None:
    """TVM's runtime as a package `tvm` that holds nothing else, and the packages that are carried along."""
    for name in CARRIED:
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    found = find_spec("tvm")
    assert found is not None and found.origin is not None
    (site / "tvm" / "lib").mkdir(parents=True, exist_ok=True)
    (site / "tvm" / "__init__.py").write_text('"""TVM\'s runtime libraries only."""\n')
    for name in LIBRARIES:
        shutil.copyfile(Path(found.origin).parent / "lib" / name, site / "tvm" / "lib" / name)
    for path in cuda_runtimes():  # PyTorch there may have brought another version
        shutil.copyfile(path, site / "tvm" / "lib" / CUDART)
        return
    sys.stderr.write(f"{CUDART} is not here to be carried: the GPU machine must have it\n")


def add_wheels(site: Path, wheels: Sequence[Path]) -> None:
    """The content of wheels, as installing them would put it there; says what is missing without them."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as content:
            content.extractall(site)
    if not (site / "tvm_ffi").exists():
        sys.stderr.write(
            f"the GPU machine must have apache-tvm-ffi {version('apache-tvm-ffi')}, or take a --wheel of it\n"
        )


def cuda_runtimes() -> Iterator[Path]:
    """CUDA's runtime on this machine."""
    home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    places = (*map(Path, in_packages(CUDART)), home / "lib64" / CUDART, *home.parent.glob(f"cuda-13*/lib64/{CUDART}"))
    return (path for path in places if path.is_file())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile mixes of models for a GPU elsewhere.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--mix", action="append", metavar="MODEL+MODEL", help="only this mix, or these")
    parser.add_argument("--batch", action="append", type=int, help="measured at this batch only, or these")
    parser.add_argument("--variants", type=int, default=3, help="at most so many of each kernel")
    parser.add_argument("--wheel", action="append", type=Path, default=[], help="a package that the GPU machine lacks")
    parser.add_argument("--stubs", action="store_true", help="no NVIDIA driver here: let stubs stand for it")
    parser.add_argument("--most", type=int, default=PART_NBYTES, metavar="NBYTES", help="of one part")
    given = parser.parse_args(arguments)
    for wheel in given.wheel:
        if not zipfile.is_zipfile(wheel):
            parser.error(f"--wheel {wheel}: no such wheel")
    (given.out / "mixes").mkdir(parents=True, exist_ok=True)
    packed: dict[str, list[Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if given.stubs:
            compile_stubs(Path(folder))
            load_stubs(Path(folder))
        for bundle in wanted(given.mix or MIXES, given.batch or BATCHES):
            packed.setdefault(bundle.mix, []).append(pack(bundle, given.out / "mixes", Cache(), given.variants))
    write_parts(given.out, list(packed.values()), given.most, given.wheel)
    return 0


def write_parts(out: Path, mixes: Sequence[Sequence[Path]], most: int, wheels: Sequence[Path] = ()) -> None:
    """OUT/1 and so on, each with its archives, the runtime and the content of the wheels; a line says what is in each.

    Others are removed.
    """
    for folder in out.glob("[0-9]*"):
        shutil.rmtree(folder)
    with tempfile.TemporaryDirectory(dir=out) as site:
        copy_runtime(Path(site))
        add_wheels(Path(site), wheels)
        for number, files in enumerate(parts(mixes, most - _nbytes(Path(site))), start=1):
            folder = out / str(number)
            shutil.copytree(site, folder / "site")
            for path in files:
                shutil.copyfile(path, folder / path.name)
            names = dict.fromkeys(path.name.partition("-b")[0] for path in files)
            large = "" if _nbytes(folder) <= most else ", MORE than can be sent"
            sys.stdout.write(f"{folder}: {_nbytes(folder) / 2**20:.1f} MiB{large}, {', '.join(names)}\n")


def _nbytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
