"""Whether this machine has what `tests.gpu` needs: one message where it has not, else its GPU as JSON.

Asked before anything is unpacked or written. What is only good to have is named, and costs what needs it.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

NEEDED = ("numpy", "onnx", "safetensors", "tvm_ffi", "cuda")
WANTED = {"onnxruntime": "outputs are not checked", "torch": "there is nothing to compare with"}
PACKAGES = ("numpy", "onnx", "onnxruntime", "safetensors", "apache-tvm-ffi", "cuda-bindings", "torch")


def versions() -> dict[str, str]:
    """Of Python, and of the packages that results depend on."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> int:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"this Python lacks {', '.join(missing)}: nothing was begun\n")
        return 2
    from gacer_tune.devices.cuda.gpu import clocks_mhz, gpu_here
    from gacer_tune.errors import UserError
    from gacer_tune.executor.cuda.libraries import load_cuda_runtime

    try:
        gpu = gpu_here()
        load_cuda_runtime()
    except (UserError, OSError, RuntimeError) as error:  # a library of another version, a call that CUDA refuses
        sys.stderr.write(f"{error}: nothing was begun\n")
        return 2
    for name, cost in WANTED.items():
        if find_spec(name) is None:
            sys.stderr.write(f"this Python lacks {name}: {cost}\n")
    sys.stdout.write(json.dumps(gpu.document() | {"clocks_mhz": clocks_mhz(), "versions": versions()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
