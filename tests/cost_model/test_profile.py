import json
import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.cost_model.profile import Profile, best_variant, demand, refuse_mismatch, spread_s
from gacer_tune.ir.workload import Workload, canonical
from tests.support.workloads import chain, quick, random_profile, random_workload, randoms

ONE = Profile((((1.0, 2.0),),), (((1.5, 2.5),),), handover_s=0.1, launch_s=0.01)


@quick
@given(randoms())
def test_a_profile_survives_json(rng: random.Random) -> None:
    profile = random_profile(rng, random_workload(rng))
    assert Profile.from_json(json.loads(canonical(profile.to_json()))) == profile


def test_an_empty_profile_survives_json() -> None:
    assert Profile.from_json(json.loads(canonical(Profile((), ()).to_json()))) == Profile((), ())


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="profile format 3: this version reads 2; tune again"):
        Profile.from_json(ONE.to_json() | {"format": 3})


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_time_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"alone: tenant 0, kernel 0, variant 1: .* a finite number not below 0"):
        replace(ONE, alone=(((1.0, seconds),),))
    with pytest.raises(ValueError, match="handover_s"):
        replace(ONE, handover_s=seconds)


def test_rows_of_unequal_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="alone and shared differ in shape"):
        replace(ONE, shared=(((1.0,),),))


def test_a_profile_of_another_workload_is_refused() -> None:
    refuse_mismatch(Workload((chain("a", (4,), variants=2),)), ONE)
    with pytest.raises(ValueError, match=r"variants by tenant and kernel \[\[2\]\], the workload has \[\[2, 2\]\]"):
        refuse_mismatch(Workload((chain("a", (4, 4), variants=2),)), ONE)


@quick
@given(st.integers(1, 50), st.integers(1, 16), st.floats(0.001, 10))
def test_the_share_grows_with_the_work_items_up_to_the_whole_pool(total: int, lanes: int, seconds: float) -> None:
    """G1: W non-decreasing and at most 1; all items on one lane take the measured time; W x T x pool holds the work."""
    demands = [demand(seconds, total, items, lanes) for items in range(1, total + 1)]
    assert all(a.share <= b.share for a, b in pairwise(demands))
    assert all(0 < d.share <= 1 for d in demands)
    assert demand(seconds, total, total, 1).seconds == pytest.approx(seconds)
    for items, d in enumerate(demands, start=1):
        assert d.share * lanes * d.seconds >= seconds * items / total * (1 - 1e-9)


def test_share_and_time_by_hand() -> None:
    assert demand(6.0, total=6, items=3, lanes=4) == (0.75, 1.0)
    assert demand(6.0, total=6, items=6, lanes=4) == (1.0, 2.0)


def test_the_best_variant_depends_on_the_lanes() -> None:
    """Variant 0 is faster but cannot be cut; variant 1 can."""
    tenant = chain("a", (4,), variants=2)
    kernel = tenant.ops[0].kernels[0]
    kernel = replace(kernel, variants=(replace(kernel.variants[0], items=1), kernel.variants[1]))
    workload = Workload((replace(tenant, ops=(replace(tenant.ops[0], kernels=(kernel,)),)),))
    profile = Profile((((1.0, 1.2),),), (((1.0, 1.6),),), launch_s=0.1)
    assert best_variant(workload, profile, 0, 0, lanes=1) == 0
    assert best_variant(workload, profile, 0, 0, lanes=2) == 1
    assert spread_s(workload, profile, (0, 0, 1), lanes=2) == pytest.approx(0.9)
