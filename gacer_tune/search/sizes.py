"""Batch and instances of tenants: the sizes of the highest rate.

DNNScaler (2023) asks of one model whether batching or more instances of it raise the throughput, and then moves that
knob as far as an SLO allows. Here both are moved, those of every tenant that may change, and what counts is what all
tenants get through together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, TypeAlias

Knob = Literal["batch", "instances"]
KNOBS: tuple[Knob, ...] = ("batch", "instances")
WORTH = 1.03  # times the rate of before, else a larger size is not taken: it makes answers wait


@dataclass(frozen=True, slots=True)
class Size:
    batch: int
    instances: int


Sizes: TypeAlias = tuple[Size, ...]
Ranges: TypeAlias = tuple[tuple[str, ...], Sizes, Sizes]  # names of models, their least and their largest sizes


@dataclass(frozen=True, slots=True)
class Probe:
    """Sizes that were measured. gain: their rate over that of the least sizes, 0 where they may not be;
    plan: the usual way that was the fastest; round_s: seconds of it until all tenants are done, in step with the first
    ones; why: what they were refused for."""

    sizes: Sizes
    gain: float
    plan: str
    round_s: float
    why: str = ""

    @property
    def outcome(self) -> str:
        """`1.25x`, or what they were refused for."""
        return self.why or f"{self.gain:.2f}x"


def sizes_text(names: Sequence[str], sizes: Sizes) -> str:
    """`det 4, seg 1 x 2`: a batch of 4, and two instances with a batch of 1."""
    pairs = zip(names, sizes, strict=True)
    return ", ".join(f"{name} {s.batch}" + f" x {s.instances}" * (s.instances > 1) for name, s in pairs)


@dataclass(frozen=True, slots=True)
class Sized:
    """names: of the models that have sizes, which may be between `least` and `most`. probes: all that was measured, the
    least sizes first; chosen: the last ones that were worth it."""

    names: tuple[str, ...]
    least: Sizes
    most: Sizes
    probes: tuple[Probe, ...]
    chosen: Sizes

    @property
    def ranges(self) -> Ranges:
        return self.names, self.least, self.most

    @property
    def gain(self) -> float:
        """The rate of the chosen sizes over that of the least ones."""
        return next(probe.gain for probe in reversed(self.probes) if probe.sizes == self.chosen)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Sized:
        """Inverse of `dataclasses.asdict`. Raises KeyError, TypeError or ValueError for anything else."""
        probes = tuple(
            Probe(_sizes(p["sizes"]), float(p["gain"]), str(p["plan"]), float(p["round_s"]), str(p["why"]))
            for p in data["probes"]
        )
        least, most, chosen = (_sizes(data[key]) for key in ("least", "most", "chosen"))
        return Sized(tuple(map(str, data["names"])), least, most, probes, chosen)


def _sizes(data: Sequence[Mapping[str, Any]]) -> Sizes:
    return tuple(Size(int(size["batch"]), int(size["instances"])) for size in data)


def climb(
    least: Sizes, most: Sizes, gain: Callable[[Sizes, Sizes], float], over: Callable[[], bool] = lambda: False
) -> Sizes:
    """From the least sizes to larger ones, one knob at a time, while that is WORTH it.

    gain(now, other): the rate of `other` over that of `now`, 0 where they may not be, as an SLO would be missed. A knob
    is doubled; from where it may not be, halving the step leads to the largest value that may. No sizes are asked about
    twice, none outside the ranges, and none once it is `over`.
    """
    climber, before = _Climber(least, most, gain, over), None
    while before != climber.now:
        before = climber.now
        for place, knob in product(range(len(least)), KNOBS):
            climber.push(place, knob)
    return climber.now


@dataclass
class _Climber:
    now: Sizes
    most: Sizes
    gain: Callable[[Sizes, Sizes], float]
    over: Callable[[], bool]
    asked: set[Sizes] = field(default_factory=set)

    def push(self, place: int, knob: Knob) -> None:
        """Double a knob while that pays; then look between where it is and what may not be."""
        most: int = getattr(self.most[place], knob)
        found, high = WORTH, most
        while found >= WORTH and self.value(place, knob) < most:
            high = min(2 * self.value(place, knob), most)
            found = self.step(place, knob, high)
        while found == 0 and high - self.value(place, knob) > 1:
            middle = (self.value(place, knob) + high) // 2
            if self.step(place, knob, middle) < WORTH:
                high = middle

    def value(self, place: int, knob: Knob) -> int:
        found: int = getattr(self.now[place], knob)
        return found

    def step(self, place: int, knob: Knob, value: int) -> float:
        """The gain of another value, which is taken where it is WORTH it; 1 where nothing was asked."""
        size = replace(self.now[place], **{knob: value})
        other = (*self.now[:place], size, *self.now[place + 1 :])
        if other in self.asked or self.over():
            return 1.0
        self.asked.add(other)
        found = self.gain(self.now, other)
        if found >= WORTH:
            self.now = other
        return found
