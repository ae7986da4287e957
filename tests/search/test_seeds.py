import random
from dataclasses import replace

import pytest
from hypothesis import given

from gacer_tune.cost_model.profile import Profile
from gacer_tune.cost_model.timeline import simulate
from gacer_tune.ir.lower import lower
from gacer_tune.ir.neighbours import normal
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Workload
from gacer_tune.search.seeds import (
    BASELINES,
    alone_s,
    baselines,
    list_schedule,
    objective_of,
    seeds,
    shares,
    useful_shares,
)
from tests.support.workloads import chain, flat_profile, quick, random_profile, random_workload, randoms


def makespan_s(workload: Workload, profile: Profile, schedule: Schedule) -> float:
    return simulate(workload, lower(workload, schedule), profile).makespan_s


@quick
@given(randoms())
def test_baselines_and_seeds_are_legal_and_in_normal_form(rng: random.Random) -> None:
    workload, lanes = random_workload(rng), rng.randint(1, 5)
    profile = random_profile(rng, workload)
    named = baselines(workload, profile, lanes)
    assert tuple(named) == BASELINES == ("sequential", "lane_per_tenant", "breadth_first")
    for schedule in (*named.values(), *seeds(workload, profile, lanes)):
        verify(workload, schedule)
        assert normal(workload, schedule) == schedule
        assert schedule.lanes == lanes


def test_baselines_take_the_best_variants_of_the_profile() -> None:
    """Variant 1 is fast but one piece; variant 0 can be cut. Alone on a lane the one wins, over two lanes the other."""
    tenant = chain("a", (4,), variants=2)
    kernel = tenant.ops[0].kernels[0]
    kernel = replace(kernel, variants=(kernel.variants[0], replace(kernel.variants[1], items=1)))
    pair = Workload((replace(tenant, ops=(replace(tenant.ops[0], kernels=(kernel,)),)),) * 2)
    rows = (((1.5, 1.0),),) * 2
    named = baselines(pair, Profile(rows, rows), 2)
    assert named["sequential"].variants == ((0,), (0,))
    assert named["breadth_first"].variants == ((0,), (0,))
    assert named["lane_per_tenant"].variants == ((1,), (1,))


@pytest.mark.parametrize(
    ("totals_s", "lanes", "expected"),
    [
        ((5.0, 4.0, 3.0), 2, ((0,), (1,), (1,))),
        ((4.0, 1.0), 3, ((0, 1), (2,))),
        ((1.0, 6.0), 4, ((0,), (1, 2, 3))),
        ((1.0, 1.0), 2, ((0,), (1,))),
        ((2.0,), 3, ((0, 1, 2),)),
    ],
)
def test_lanes_are_shared_by_time(totals_s: tuple[float, ...], lanes: int, expected: object) -> None:
    assert shares(totals_s, lanes) == expected


def test_a_list_schedule_keeps_all_lanes_busy_with_whole_ops() -> None:
    """Three chains of four kernels that cannot be cut, 1 s each: 12 s of work, 6 s on two lanes."""
    workload = Workload(tuple(chain(name, (1,) * 4) for name in "abc"))
    profile = flat_profile(workload)
    schedule = list_schedule(workload, profile, 2)
    assert makespan_s(workload, profile, schedule) == pytest.approx(6.0)
    named = baselines(workload, profile, 2)
    assert makespan_s(workload, profile, named["lane_per_tenant"]) == 8.0
    assert makespan_s(workload, profile, named["sequential"]) == 12.0


def test_a_mix_levels_the_lanes() -> None:
    """a takes 10 s, b 6 s, on lanes of their own until 6 s; what is left of a goes over both: 8 s, all lanes busy."""
    workload = Workload((chain("a", (2,) * 10), chain("b", (2,) * 6)))
    profile = flat_profile(workload)
    found = {makespan_s(workload, profile, schedule) for schedule in seeds(workload, profile, 2)}
    assert min(found) == pytest.approx(8.0)
    mixes = [s for s in seeds(workload, profile, 2) if len(s.clusters) == 2]
    assert ((6,), (6,)) in {s.pointers for s in mixes}
    assert ((4,), (0,)) in {s.pointers for s in mixes}, "mirrored: first all lanes for a, then each on its own"


def test_one_lane_and_no_ops_have_no_seeds() -> None:
    workload = Workload((chain("a", (2, 2)),))
    assert seeds(workload, flat_profile(workload), 1) == ()
    nothing = Workload((chain("a", ()),))
    assert seeds(nothing, flat_profile(nothing), 2) == ()


def test_times_alone_are_those_of_a_workload_of_one() -> None:
    """a: 2 ops of 4 items, 1 s of work each, over 2 lanes; b: one op that cannot be cut."""
    pair = Workload((chain("a", (4, 4)), chain("b", (1,))))
    assert alone_s(pair, flat_profile(pair, 1.0), 2) == pytest.approx((1.0, 1.0))
    assert alone_s(pair, flat_profile(pair, 1.0), 1) == pytest.approx((2.0, 1.0))
    assert objective_of("fairness", pair, flat_profile(pair, 1.0), 1).value(3.0, (2.0, 3.0)) == pytest.approx(3 * 1.5)
    assert objective_of("makespan", pair, flat_profile(pair, 1.0), 1).alone_s == ()


def test_lanes_go_to_those_that_can_use_them() -> None:
    """a: ops of 2 items, b: ops of 16, as much work in each: by work both get 4 of 8 lanes, of which a uses 2."""
    pair = Workload((chain("a", (2, 2)), chain("b", (16, 16))))
    profile = flat_profile(pair, 1.0)
    assert [len(row) for row in shares((2.0, 2.0), 8)] == [4, 4]
    assert useful_shares(pair, profile, 8) == ((0, 1), (2, 3, 4, 5, 6, 7))
    assert useful_shares(pair, profile, 2) == ((0,), (1,)) == shares((2.0, 2.0), 2)
    narrow = Workload((chain("a", (1,)), chain("b", (1,))))
    assert sum(map(len, useful_shares(narrow, flat_profile(narrow, 1.0), 5))) == 5, "all are given away"
    found = {schedule.clusters[0].lanes for schedule in seeds(pair, profile, 8)}
    assert useful_shares(pair, profile, 8) in found
