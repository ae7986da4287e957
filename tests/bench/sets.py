"""What the benchmark runs: models alone at batch 1, mixes of two to four tenants, models alone at larger batches, and
quantized ones.

An entry is models joined by `+`; `resnet18@4` is a model at batch 4, `resnet18_uint8` one that is quantized.
"""

from __future__ import annotations

from types import MappingProxyType

ALONE = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3", "efficientnet_b0", "squeezenet", "shufflenet", "googlenet",
    "inception", "densenet121", "alexnet", "unet", "tiny_yolo", "ssd", "bert_small", "vit_tiny", "lstm", "dlrm",
)  # fmt: skip
TOGETHER = (
    "resnet18+bert_small",
    "resnet50+mobilenet_v2",
    "mobilenet_v3+efficientnet_b0+squeezenet",
    "unet+resnet18",
    "ssd+bert_small+resnet18",
    "googlenet+shufflenet",
    "vit_tiny+mobilenet_v2",
    "densenet121+squeezenet",
    "dlrm+lstm+bert_small",
    "tiny_yolo+resnet18+bert_small+dlrm",
)
BATCHES = tuple(
    f"{name}@{batch}"
    for name in ("resnet18", "mobilenet_v2", "squeezenet", "bert_small", "vit_tiny")
    for batch in (4, 8)
)
QUANTIZED = (
    *(f"{name}_uint8" for name in ("resnet18", "resnet50", "mobilenet_v2", "squeezenet", "googlenet")),
    "resnet18_int8",
    "bert_small_dynamic",
    "resnet18_uint8+bert_small_dynamic",
    "mobilenet_v2_uint8+squeezenet_uint8",
)
SETS = MappingProxyType({"alone": ALONE, "together": TOGETHER, "batches": BATCHES, "quantized": QUANTIZED})
HOW = ("uint8", "int8", "dynamic")  # the type of activations, or that these are quantized as they come


def model_of(name: str) -> tuple[str, int, str]:
    """`resnet18@4` -> ("resnet18", 4, ""), `resnet18_int8` -> ("resnet18", 1, "int8"): model, batch, how quantized."""
    model, _, batch = name.partition("@")
    base, _, how = model.rpartition("_")
    return (base, int(batch or 1), how) if how in HOW else (model, int(batch or 1), "")


def entries(only: str | None, names: list[str]) -> list[tuple[str, str]]:
    """(set, entry) of the whole benchmark or of part of it. ValueError for an unknown name."""
    known = [(kind, name) for kind, row in SETS.items() for name in row if only in (None, kind)]
    unknown = set(names) - {name for _, name in known}
    if unknown:
        raise ValueError(f"no entry {', '.join(sorted(unknown))}: there are {', '.join(name for _, name in known)}")
    return [(kind, name) for kind, name in known if not names or name in names]
