"""Small workloads of which every schedule was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnx

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.neighbours import Only
from gacer_tune.ir.workload import Workload
from gacer_tune.learning.recording import SUFFIX
from gacer_tune.search.seeds import baselines
from gacer_tune.search.strategy import Space
from models.builder import Builder
from models.tiny import tiny_attention, tiny_mlp


@dataclass(frozen=True)
class Small:
    """Tenants by name; most: variants of each kernel; only: the half of the space that is enumerated."""

    tenants: dict[str, Callable[[], onnx.ModelProto]]
    most: int = 2
    only: Only | None = None


def _dense(features: int, hidden: int, rows: int) -> onnx.ModelProto:
    g = Builder("dense", features)
    return g.model({"output": g.linear(g.input("input", (rows, features)), hidden)})


def _softmax(rows: int, columns: int) -> onnx.ModelProto:
    g = Builder("softmax", rows)
    return g.model({"output": g.softmax(g.input("input", (rows, columns)))})


def _product(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    g = Builder("product", rows)
    return g.model({"output": g.matmul(g.input("left", (rows, depth)), g.input("right", (depth, columns)))})


# One reads weights from memory beside one that computes; two that compute, one of them four times as long; and two
# small models, of which every pair of pointers is tried with every order and issue.
SPACES: MappingProxyType[str, Small] = MappingProxyType(
    {
        "stream_beside_softmax": Small(
            {"stream": lambda: _dense(2048, 2048, 1), "softmax": lambda: _softmax(512, 512)}
        ),
        "long_beside_short": Small(
            {"long": lambda: _product(256, 384, 256), "short": lambda: _dense(512, 512, 8)}, most=2
        ),
        "perceptron_beside_attention": Small(
            {
                "perceptron": lambda: tiny_mlp(batch=16, features=512, hidden=1024),
                "attention": lambda: tiny_attention(tokens=128, hidden=128, heads=4),
            },
            only="temporal",
        ),
    }
)
DATA = Path(__file__).parent / "data"


MIXES = Path(__file__).parents[1] / "learning" / "data"


def mixes(folder: Path = MIXES) -> dict[str, Path]:
    """The recorded mixes of models by name: thousands of trials each, but never all schedules."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def path_of(name: str) -> Path:
    return DATA / f"{name}{SUFFIX}"


def space_of(name: str, workload: Workload, profile: Profile, lanes: int) -> Space:
    return Space(workload, lanes, tuple(baselines(workload, profile, lanes).values()), only=SPACES[name].only)
