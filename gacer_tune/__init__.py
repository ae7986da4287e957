"""gacer-tune: finds, by measuring, the fastest way to run several ONNX models together on one machine."""

from pathlib import Path

_here = Path(__path__[0])
if not (_here / "ir").is_dir():  # a checkout: ir/ and cost_model/ lie beside this folder
    __path__.append(str(_here.parent))
