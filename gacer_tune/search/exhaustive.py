"""Every schedule of a small space, one after the other: finds the optimum, and shows what other strategies miss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, permutations, product
from math import prod

from gacer_tune.errors import UserError
from gacer_tune.ir.neighbours import normal
from gacer_tune.ir.schedule import Cluster, Schedule
from gacer_tune.search.strategy import Space, untried
from gacer_tune.search.trial import Trial

LIMIT = 30_000  # combinations, before those that decide the same are joined

_Rows = list[list[tuple[int, ...]]]  # [tenant][number]: what to choose from


@dataclass(frozen=True, slots=True)
class Exhaustive:
    """All schedules with at most one pointer, and chunks of 0, 1, or twice the lanes, in a fixed order.

    Raises UserError where there are more than LIMIT combinations.
    """

    space: Space
    _all: tuple[Schedule, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_all", tuple(dict.fromkeys(_limited(_every(self.space)))))

    def __len__(self) -> int:
        return len(self._all)

    def propose(self, history: Sequence[Trial], count: int) -> list[Schedule]:
        return untried(self._all, {trial.schedule for trial in history}, count)


def _limited(drawn: Iterator[Schedule]) -> Iterator[Schedule]:
    for number, schedule in enumerate(drawn):
        if number == LIMIT:
            raise _too_many()
        yield schedule


def _too_many() -> UserError:
    return UserError(f"strategy exhaustive: more than {LIMIT} schedules; evolve searches spaces of any size")


def _every(space: Space) -> Iterator[Schedule]:
    bases = space.starts if space.only == "temporal" else _spatial_bases(space)
    for base in bases:
        for schedule in _cut(space, base):
            yield space.made(normal(space.workload, schedule))


def _spatial_bases(space: Space) -> Iterator[Schedule]:
    """All variants, chunks and first lanes; with the clusters of a start."""
    tenants, twice = space.workload.tenants, 2 * space.lanes
    variants: _Rows = [[tuple(range(len(k.variants))) for k in tenant.kernels] for tenant in tenants]
    most = [[max(v.items for k in op.kernels for v in k.variants) for op in tenant.ops] for tenant in tenants]
    chunks: _Rows = [[(0, 1, twice) if items > 1 else (0,) for items in row] for row in most]
    first: _Rows = [[tuple(range(space.lanes)) for _ in tenant.ops] for tenant in tenants]
    if prod(len(choices) for rows in (variants, chunks, first) for row in rows for choices in row) > LIMIT:
        raise _too_many()
    for v, c, f in product(_filled(variants), _filled(chunks), _filled(first)):
        yield replace(space.starts[0], variants=v, chunks=c, first=f)


def _cut(space: Space, base: Schedule) -> Iterator[Schedule]:
    """The base with every choice of clusters that `only` leaves."""
    tenants = space.workload.tenants
    lengths = [len(tenant.ops) for tenant in tenants]
    pointers: list[tuple[tuple[int, ...], ...]] = [tuple(() for _ in tenants)]
    if space.only != "spatial":
        pointers += [tuple((p,) for p in row) for row in product(*(range(n + 1) for n in lengths))]
    for rows in pointers:
        spans = [(0, *row, length) for row, length in zip(rows, lengths, strict=True)]
        present = [[t for t, bounds in enumerate(spans) if bounds[c] < bounds[c + 1]] for c in range(len(spans[0]) - 1)]
        if len(present) > 1 and not all(present):
            continue  # an empty cluster is the same as no pointer
        for clusters in product(*(list(_clusters(space, base, here)) for here in present)):
            yield replace(base, pointers=rows, clusters=clusters)


def _clusters(space: Space, base: Schedule, present: Sequence[int]) -> Iterator[Cluster]:
    """All decisions for one cluster in which only the tenants `present` have ops."""
    plain = base.clusters[0]
    subsets = list(chain.from_iterable(combinations(range(space.lanes), n) for n in range(1, space.lanes + 1)))
    lanes: Iterable[tuple[tuple[int, ...], ...]] = [plain.lanes]
    orders = [(plain.order, plain.breadth)]
    if space.only != "temporal":
        lanes = product(*(subsets if t in present else [plain.lanes[t]] for t in range(len(plain.lanes))))
    if space.only != "spatial":
        absent = tuple(t for t in plain.order if t not in present)
        orders = [
            ((*order, *absent), b) for order in permutations(present) for b in (False, True)[: max(len(present), 1)]
        ]
    for own, (order, breadth) in product(lanes, orders):
        yield Cluster(own, order, breadth)


def _filled(rows: _Rows) -> list[tuple[tuple[int, ...], ...]]:
    """Every way to fill the rows."""
    return list(product(*(list(product(*row)) for row in rows)))
