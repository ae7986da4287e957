"""Whether this machine has what `tests.gpu` needs: one message where it has not, else its GPU as JSON.

Asked before anything is unpacked or written. What is only good to have is named, and costs what needs it.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

NEEDED = ("numpy", "onnx", "safetensors", "tvm_ffi", "cuda")
WANTED = {"onnxruntime": "outputs are not checked", "torch": "there is nothing to compare with"}


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
    except UserError as error:
        sys.stderr.write(f"{error}: nothing was begun\n")
        return 2
    for name, cost in WANTED.items():
        if find_spec(name) is None:
            sys.stderr.write(f"this Python lacks {name}: {cost}\n")
    sys.stdout.write(json.dumps(gpu.document() | {"clocks_mhz": clocks_mhz()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
