"""Which variants the search gets to choose from."""

from dataclasses import replace

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.workload import Tenant, Variant, Workload
from gacer_tune.selection import MARGIN, MOST, SLOWEST, adopted, contenders, select
from tests.support.workloads import chain


def workload(*items: int, footprints: tuple[int, ...] = ()) -> Workload:
    """One kernel with a variant for each number of items."""
    plain = chain("t", (1,))
    (op,) = plain.ops
    sizes = footprints or (0,) * len(items)
    variants = tuple(Variant(f"v{n}", items[n], footprint=sizes[n]) for n in range(len(items)))
    kernel = replace(op.kernels[0], variants=variants)
    tenant = Tenant(
        plain.name, plain.model, plain.buffers, (replace(op, kernels=(kernel,)),), plain.inputs, plain.outputs
    )
    return Workload((tenant,))


def kept(items: tuple[int, ...], alone: tuple[float, ...], shared: tuple[float, ...], lanes: int = 2) -> list[str]:
    found, profile = select(workload(*items), Profile(((alone,),), ((shared,),), 0.0, 0.0), lanes)
    variants = found.tenants[0].kernels[0].variants
    assert len(profile.alone[0][0]) == len(profile.shared[0][0]) == len(variants)
    return [variant.function for variant in variants]


def test_a_variant_that_another_beats_in_everything_is_dropped() -> None:
    assert kept((16, 16), (1.0, 1.2), (1.0, 1.2)) == ["v0"]
    assert kept((16, 32), (1.0, 1.2), (1.0, 1.2)) == ["v0", "v1"]  # more items: it parallelises further


def test_what_leaves_more_of_the_cache_is_kept() -> None:
    """Footprints count in powers of two: less of a difference is no reason to be slower."""
    profile = Profile((((1.0, 1.2, 1.2),),), (((1.0, 1.2, 1.2),),))
    found, _ = select(workload(16, 16, 16, footprints=(96 << 10, 48 << 10, 80 << 10)), profile, 2)
    assert [variant.function for variant in found.tenants[0].kernels[0].variants] == ["v0", "v1"]


def test_first_is_the_one_whose_items_the_lanes_share_fastest() -> None:
    """Three items on two lanes take as long as four would; on one lane nothing is lost."""
    assert kept((3, 4), (1.0, 1.1), (1.0, 1.1), lanes=2)[0] == "v1"
    assert kept((3, 4), (1.0, 1.1), (1.0, 1.1), lanes=1)[0] == "v0"


def test_slow_variants_are_dropped_and_few_are_kept() -> None:
    assert kept((16, 64), (1.0, 2.0), (1.0, 2.0)) == ["v0"]
    many = tuple(range(16, 32, 2))
    assert len(kept(many, tuple(1 + n / 100 for n in many), tuple(1 + n / 100 for n in many))) == MOST


def looked_at(items: tuple[int, ...], alone: tuple[float, ...], shared: tuple[float, ...]) -> tuple[int, ...]:
    return contenders(workload(*items), Profile(((alone,),), ((shared,),), 0.0, 0.0), 2)[0][0]


def test_a_first_look_drops_only_what_is_clearly_worse() -> None:
    near, far = 1.01, MARGIN * 1.01
    assert set(looked_at((16, 16), (1.0, near), (1.0, near))) == {0, 1}, "select would drop it: the look may be wrong"
    assert looked_at((16, 16), (1.0, far), (1.0, far)) == (0,)
    assert set(looked_at((16, 16), (1.0, far), (1.0, near))) == {0, 1}, "clearly worse in one way only"
    assert set(looked_at((16, 32), (1.0, far), (1.0, far))) == {0, 1}, "it has more items"
    slow = SLOWEST * far
    assert looked_at((16, 32), (1.0, slow), (1.0, slow)) == (0,)


def test_a_second_look_is_at_the_most_promising_ones() -> None:
    times = tuple(2.0 - n / 100 for n in range(MOST + 3))
    assert looked_at((16,) * len(times), times, times) == tuple(range(MOST + 2, 2, -1))


def test_equal_kernels_have_equal_contenders() -> None:
    one = workload(16, 16)
    pair = Workload((one.tenants[0], one.tenants[0]))
    rows = (((1.0, 3.0),), ((3.0, 1.0),))
    found = contenders(pair, Profile(rows, rows, 0.0, 0.0), 2)
    assert found[0] == found[1] == ((0,),)


def test_what_was_selected_elsewhere_is_taken_over_by_its_functions() -> None:
    ours = workload(16, 8, 32)
    profile = Profile((((1.0, 2.0, 1.1),),), (((1.0, 2.0, 1.1),),), 0.25)
    selected, times = select(ours, profile, 2)
    assert [variant.function for variant in selected.tenants[0].kernels[0].variants] == ["v0", "v2"]
    foreign = replace(selected.tenants[0], name="their name", buffers=())
    (op,) = foreign.ops
    forged = tuple(replace(variant, items=7) for variant in op.kernels[0].variants)
    foreign = replace(foreign, ops=(replace(op, kernels=(replace(op.kernels[0], variants=forged),)),))
    assert adopted(ours, Workload((foreign,)), times) == (selected, times)


def test_what_was_selected_for_other_kernels_is_not_taken_over() -> None:
    ours, profile = workload(16, 32), Profile((((1.0, 1.1),),), (((1.0, 1.1),),))
    (tenant,) = ours.tenants
    retrained = Workload((replace(tenant, model="another"),))
    longer = Workload((replace(tenant, ops=(*tenant.ops, *tenant.ops)),))
    twice = Workload((tenant, tenant))
    assert adopted(ours, ours, profile) == (ours, profile)
    for other in (retrained, longer, twice, workload(16, 32, 48)):
        assert adopted(ours, other, profile) is None
