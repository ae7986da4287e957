"""The learned part of the cost model: XGBoost on log(measured / simulated).

The timeline is the prior, the regression its correction: with few samples the trees say little and the timeline
stands. Where earlier searches have left a model, the trees correct what that one predicts. Members on bootstrap samples
tell how sure they are. Failures have no time, so they are no samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from gacer_tune.cost_model.features import FEATURES_VERSION, NAMES, Vector
from gacer_tune.ir.workload import canonical

FORMAT = 2
MIN_SAMPLES = 16
_TREES = 60
_MEMBERS = 3
_HEADER_NBYTES = 4096
_PARAMETERS: dict[str, Any] = {
    "tree_method": "hist",
    "max_bin": 64,
    "max_depth": 4,
    "eta": 0.15,
    "min_child_weight": 2.0,
    "colsample_bytree": 0.7,
    "lambda": 1.0,
    "objective": "reg:squarederror",
    "nthread": 1,
    "verbosity": 0,
}

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured plan: its features and the seconds that were simulated and measured, both above 0.

    group: the workload it belongs to. Only plans of one group are ever compared, so what all of them have in common is
    no matter of the trees.
    """

    features: Vector
    simulated_s: float
    measured_s: float
    group: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """log_ratio[i]: log(measured / simulated) expected of plan i; spread[i]: standard deviation among the members."""

    log_ratio: Vector
    spread: Vector

    def seconds(self, simulated_s: Sequence[float]) -> Vector:
        ratio: Vector = np.exp(self.log_ratio)
        return np.asarray(simulated_s, dtype=np.float64) * ratio


@dataclass(frozen=True, slots=True)
class CostModel:
    """A fitted ensemble, or none before there are MIN_SAMPLES samples: then the timeline alone answers.

    `members` correct what `prior`, the members of an earlier model, predict.
    """

    members: tuple[Any, ...] = ()
    samples: int = 0
    prior: tuple[Any, ...] = ()

    def predict(self, matrix: Matrix) -> Prediction:
        """Predictions for plans whose features are the rows of `matrix`, shape (plans, len(NAMES))."""
        if not len(matrix) or not (self.members or self.prior):
            return Prediction(np.zeros(len(matrix)), np.zeros(len(matrix)))
        data = xgboost.DMatrix(matrix, nthread=1)
        parts = [_answers(members, data) for members in (self.prior, self.members) if members]
        spread: Vector = np.sqrt(sum(part.var(axis=0) for part in parts))
        return Prediction(sum((part.mean(axis=0) for part in parts), np.zeros(len(matrix))), spread)

    def to_bytes(self) -> bytes:
        """One line of JSON (format, version of the features, sizes, sha256), then the members as UBJSON."""
        blobs = [bytes(member.save_raw("ubj")) for member in (*self.members, *self.prior)]
        header = {
            "format": FORMAT,
            "features": FEATURES_VERSION,
            "samples": self.samples,
            "members": len(self.members),
            "sizes": [len(blob) for blob in blobs],
            "sha256": hashlib.sha256(b"".join(blobs)).hexdigest(),
        }
        return b"".join([canonical(header).encode(), b"\n", *blobs])

    @staticmethod
    def from_bytes(data: bytes) -> CostModel:
        """Inverse of to_bytes. Raises ValueError for another version and for anything that is damaged."""
        header, end = _header(data)
        if header.get("format") != FORMAT:
            raise ValueError(f"cost model format {header.get('format')!r}: this version reads {FORMAT}")
        if header.get("features") != FEATURES_VERSION:
            raise ValueError(f"cost model for features {header.get('features')!r}: this version has {FEATURES_VERSION}")
        # XGBoost trusts what it loads: nothing that was changed by accident may reach it.
        if hashlib.sha256(data[end:]).hexdigest() != header.get("sha256") or sum(header["sizes"]) != len(data) - end:
            raise ValueError("cost model: damaged, its checksum does not match")
        members = []
        for size in header["sizes"]:
            member = xgboost.Booster({"nthread": 1})
            member.load_model(bytearray(data[end : end + size]))
            members.append(member)
            end += size
        count = int(header["members"])
        return CostModel(tuple(members[:count]), int(header["samples"]), tuple(members[count:]))


def fit(samples: Sequence[Sample], seed: int = 0, prior: CostModel | None = None) -> CostModel:
    """The model of some samples; equal samples and seeds give equal models. Takes one thread.

    With a `prior`, which must have none of its own, the new members learn what it gets wrong.
    """
    before = prior.members if prior else ()
    if len(samples) < MIN_SAMPLES:
        return CostModel((), 0, before)
    matrix = np.stack([sample.features for sample in samples])
    target = np.log([sample.measured_s / sample.simulated_s for sample in samples])
    if matrix.shape[1] != len(NAMES):
        raise ValueError(f"features: {matrix.shape[1]} a sample, version {FEATURES_VERSION} has {len(NAMES)}")
    if before:
        target -= _answers(before, xgboost.DMatrix(matrix, nthread=1)).mean(axis=0)
    target, weights = _comparable(samples, target)
    rng = np.random.default_rng(seed)
    data = xgboost.QuantileDMatrix(matrix, label=target, max_bin=_PARAMETERS["max_bin"], nthread=1)
    parameters = {**_PARAMETERS, "base_score": float(np.median(target))}
    members = []
    for number in range(_MEMBERS):
        drawn = np.bincount(rng.integers(len(samples), size=len(samples)), minlength=len(samples))
        data.set_weight(drawn * weights)
        members.append(xgboost.train({**parameters, "seed": seed + number}, data, num_boost_round=_TREES))
    return CostModel(tuple(members), len(samples), before)


def _comparable(samples: Sequence[Sample], target: Vector) -> tuple[Vector, Vector]:
    """Targets less the mean of their group and plus the mean of all groups; and weights.

    A plan twice as slow as the fastest of its group weighs half: a search has no use for slow plans.
    """
    names = np.array([sample.group for sample in samples])
    measured = np.array([sample.measured_s for sample in samples])
    centred, weights, centres = target.copy(), np.ones(len(samples)), []
    for name in np.unique(names):
        own = names == name
        centres.append(np.mean(target[own]))
        centred[own] -= centres[-1]
        weights[own] = measured[own].min() / measured[own]
    return centred + float(np.mean(centres)), weights


def _answers(members: Sequence[Any], data: Any) -> Matrix:
    """Shape (members, plans)."""
    return np.stack([member.predict(data) for member in members]).astype(np.float64)


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The header and where the members begin."""
    end = data.find(b"\n", 0, _HEADER_NBYTES) + 1
    try:
        header = json.loads(data[:end])
    except ValueError as error:
        raise ValueError("cost model: no header in the first line") from error
    if not isinstance(header, dict):
        raise ValueError("cost model: no header in the first line")
    return header, end
