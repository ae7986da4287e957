"""Groups of op kinds: the features tell how much of a plan each group is."""

from __future__ import annotations

GROUPS = (
    *("conv2d", "winograd", "depthwise", "matmul", "bmm", "pool", "reduce", "softmax", "norm", "map", "move", "gather"),
    *("resize", "default", "other"),
)
# By the beginning of `Op.kind`, which is the name of the rule that made it; the longest that fits counts.
_PREFIXES = {
    "conv2d": "conv2d",
    "byte_conv2d": "conv2d",
    "conv_transpose": "conv2d",
    "winograd": "winograd",
    "depthwise": "depthwise",
    "matmul": "matmul",
    "byte_matmul": "matmul",
    "bmm": "bmm",
    "attention": "bmm",  # two products with a softmax between them
    "pool": "pool",
    "reduce": "reduce",
    "softmax": "softmax",
    "log_softmax": "softmax",
    "layer_norm": "norm",
    "channel_norm": "norm",
    "lrn": "norm",
    "map": "map",
    "copy": "move",
    "concat": "move",
    "pad": "move",
    "gather": "gather",
    "resize": "resize",
    "default": "default",
}
OTHER = len(GROUPS) - 1


def group(kind: str) -> int:
    """Index into GROUPS of an op's kind; OTHER for one that no rule here emits."""
    fitting = [prefix for prefix in _PREFIXES if kind.startswith(prefix)]
    return GROUPS.index(_PREFIXES[max(fitting, key=len)]) if fitting else OTHER
