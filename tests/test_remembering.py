"""What an earlier search found is offered to the next one: first, as it fits, and never believed."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune import remembering
from gacer_tune.ir.neighbours import normal, random_schedule
from gacer_tune.ir.schedule import breadth_first, lane_per_tenant, sequential
from gacer_tune.ir.verify import verify
from gacer_tune.ir.workload import Op, Tenant, Variant, Workload
from gacer_tune.remembering import MOST_OFFERED, fitted, offered, remember
from gacer_tune.search.acceptance import Outcome
from gacer_tune.search.seeds import BASELINES
from gacer_tune.search.simulated import SimulatedDevice
from gacer_tune.search.streams import stream_per_tenant
from gacer_tune.search.trial import Failure, Timing, Trial
from gacer_tune.search.tune import TuneOptions, tune
from gacer_tune.store.cache import Cache
from gacer_tune.store.schedules import put, records
from tests.support.records import HERE, NOW_S, PAIR, made
from tests.support.workloads import chain, quick, random_profile

PROFILE = random_profile(random.Random(1), PAIR)
ELSEWHERE = replace(HERE, cpu="Another CPU")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(remembering, "host_fingerprint", lambda: HERE)
    return Cache(tmp_path / "cache")


def prepared(cache: Cache, workload: Workload = PAIR, lanes: int = 2) -> Any:
    profile = random_profile(random.Random(1), workload)
    return SimpleNamespace(workload=workload, profile=profile, cache=cache, cpus=tuple(range(lanes)))


def asked(**fields: Any) -> Any:
    usual = {"strategy": "evolve", "only": None, "objective": "makespan", "shares": False}
    taken = fields.get("precision") or ("fp16" if fields.get("simulate") else "fp32")
    return SimpleNamespace(**{**usual, **fields}, chosen_precision=taken)


def some(seed: int, workload: Workload = PAIR, lanes: int = 2) -> Any:
    return random_schedule(workload, lanes, random.Random(seed))


def test_an_empty_cache_offers_nothing(cache: Cache) -> None:
    assert offered(asked(), prepared(cache)) == ()


def test_the_schedule_of_the_same_key_comes_first(cache: Cache) -> None:
    exact, other = made(schedule=some(1)), made(schedule=some(2), fingerprint=ELSEWHERE, made_s=NOW_S + 9)
    for record in (exact, other):
        put(cache, record)
    found = offered(asked(), prepared(cache))
    assert found[0] == exact.schedule
    assert set(found[1:]) == {other.schedule, other.trials[0].schedule}, "with what came near it there"


def test_runners_up_of_the_same_key_are_not_offered(cache: Cache) -> None:
    put(cache, made(schedule=some(1)))
    assert offered(asked(), prepared(cache)) == (some(1),)


def test_this_machine_comes_before_others_and_there_is_an_end(cache: Cache) -> None:
    near = made(schedule=some(1), objective="throughput", trials=())
    far = [made(schedule=some(n), trials=(), fingerprint=replace(HERE, cores=n), made_s=NOW_S + n) for n in range(3, 9)]
    for record in (*far, near):
        put(cache, record)
    assert offered(asked(), prepared(cache)) == (some(1), some(8), some(7), some(6))
    assert len(far) + 1 > MOST_OFFERED


@pytest.mark.parametrize("fields", [{"strategy": "random"}, {"strategy": "coordinate"}, {"only": "spatial"}])
def test_searches_that_are_to_be_compared_get_no_answer_beforehand(cache: Cache, fields: dict[str, Any]) -> None:
    put(cache, made(schedule=some(1)))
    assert offered(asked(**fields), prepared(cache)) == ()


def test_another_batch_of_the_same_models_is_a_place_to_start_from(cache: Cache) -> None:
    """Other digests, other work items: the same decisions, as far as they fit."""
    larger = Workload(tuple(replace(t, model=f"{t.model} batch 4", batch=4) for t in PAIR.tenants))
    put(cache, made(larger, schedule=some(1, larger), trials=()))
    assert offered(asked(), prepared(cache)) == (some(1, larger),)


def test_ops_that_another_batch_computes_in_another_way_fit_all_the_same(cache: Cache) -> None:
    """As Winograd's tiles, which depend on the size of an image: another kind of op, as many kernels."""
    first = PAIR.tenants[0]
    tiled = tuple(replace(op, kind="winograd4") for op in first.ops)
    larger = Workload((replace(first, model="larger", ops=tiled), PAIR.tenants[1]))
    put(cache, made(larger, schedule=some(1), trials=()))
    assert offered(asked(), prepared(cache)) == (some(1),)


def test_shares_are_offered_to_those_only_who_ask_for_them(cache: Cache) -> None:
    on_gpu = Workload(PAIR.tenants, "cuda")
    shared = replace(stream_per_tenant(on_gpu, 2), shares=(5, 3))
    put(cache, made(on_gpu, schedule=shared, gpu="{}", trials=()))
    asks = {"simulate": "h100", "precision": None}
    assert offered(asked(shares=True, **asks), prepared(cache, on_gpu)) == (shared,)
    assert offered(asked(**asks), prepared(cache, on_gpu)) == (replace(shared, shares=()),)


def test_other_models_are_not_related(cache: Cache) -> None:
    other = Workload((chain("ocr", (3,)), chain("asr", (4, 4, 4))))
    put(cache, made(other))
    put(cache, made(Workload(PAIR.tenants, "cuda"), schedule=some(1), gpu="{}"))
    assert offered(asked(), prepared(cache)) == ()


@pytest.mark.parametrize(
    ("workload", "lanes", "reason"),
    [
        (PAIR, 1, "2 lanes, there are 1"),
        (
            Workload((chain("det", (4, 6)), PAIR.tenants[1])),
            2,
            "det: made for 3 ops of 3 kernels, it has 2 ops of 2 kernels",
        ),
    ],
)
def test_what_does_not_fit_is_dropped_with_one_plain_line(
    cache: Cache, caplog: pytest.LogCaptureFixture, workload: Workload, lanes: int, reason: str
) -> None:
    put(cache, made())
    with caplog.at_level(logging.WARNING):
        assert offered(asked(), prepared(cache, workload, lanes)) == ()
    assert caplog.messages == [f"cached schedule of det, seg dropped, it does not fit: {reason}"]


def test_names_in_a_record_command_no_terminal(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    evil = Workload(tuple(replace(tenant, name=f"\x1b[2J{tenant.name}") for tenant in PAIR.tenants))
    put(cache, made(evil))
    assert offered(asked(), prepared(cache, lanes=1)) == ()
    assert caplog.messages[0].startswith("cached schedule of ?[2Jdet, ?[2Jseg dropped")


def test_a_plan_of_millions_of_slices_is_not_even_lowered() -> None:
    vast = Workload((chain("det", (10**6,) * 3, variants=2), chain("seg", (6, 8), variants=2)))
    cut = replace(breadth_first(vast, 2), chunks=((10**6,) * 3, (0, 0)))
    with pytest.raises(ValueError, match="1000000 chunks of an op, at most 128"):
        fitted(cut, vast, vast, random_profile(random.Random(1), vast), 2)


def test_the_line_reaches_users_who_have_configured_nothing(
    cache: Cache, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    put(cache, made())
    offered(asked(), prepared(cache, lanes=1))
    assert capfd.readouterr().err == ("cached schedule of det, seg dropped, it does not fit: 2 lanes, there are 1\n")


def with_variants(tenant: Tenant, *names: str) -> Tenant:
    variants = tuple(Variant(name, 6) for name in names)
    ops = tuple(Op(op.name, op.kind, (replace(op.kernels[0], variants=variants),)) for op in tenant.ops)
    return replace(tenant, ops=ops)


def test_variants_are_found_by_function_or_chosen_by_this_profile() -> None:
    theirs = Workload((with_variants(PAIR.tenants[1], "a", "b", "c"),))
    ours = Workload((with_variants(PAIR.tenants[1], "c", "d", "a"),))
    profile = replace(random_profile(random.Random(2), ours), launch_s=0.0)
    times = tuple((3.0, 1.0, 2.0) for _ in ours.tenants[0].kernels)
    profile = replace(profile, alone=(times,), shared=(times,))
    schedule = replace(sequential(theirs, 2), variants=((2, 1),))
    assert fitted(schedule, theirs, ours, profile, 2).variants == ((0, 1),)


def test_fewer_lanes_grow_to_those_that_are_there() -> None:
    """So that the search, which starts from it, may use them all."""
    found = fitted(lane_per_tenant(PAIR, 2), PAIR, PAIR, PROFILE, 4)
    assert found.lanes == 4
    assert found.clusters[0].lanes == ((0,), (1,))


@quick
@given(st.randoms(use_true_random=False), st.integers(1, 3), st.integers(0, 2))
def test_whatever_fits_is_legal(rng: random.Random, lanes: int, more: int) -> None:
    """Schedules of workloads with other numbers of work items: chunks above those of ours are cut down."""

    def sized(seed: int) -> Workload:
        sizes = random.Random(seed)
        return Workload(
            tuple(chain(name, tuple(sizes.randint(1, 12) for _ in range(3)), variants=2) for name in ("det", "seg"))
        )

    theirs, ours = sized(rng.randint(0, 99)), sized(rng.randint(100, 199))
    profile = random_profile(rng, ours)
    schedule = random_schedule(theirs, lanes, rng)
    found = fitted(schedule, theirs, ours, profile, lanes + more)
    verify(ours, found)
    assert found == normal(ours, found)
    assert found.variants == schedule.variants, "functions have the same names here"
    assert fitted(schedule, theirs, theirs, profile, lanes) == schedule


def outcome(schedule: Any, accepted: bool = True) -> Outcome:
    return Outcome(schedule, "evolve", accepted, 1.3, 0.01, 0.02, 0.015, "sequential", "because")


def test_a_finished_search_is_remembered_and_offered(cache: Cache) -> None:
    timings = {seed: Timing((0.01 * seed,), (0.01, 0.01)) for seed in (1, 2, 3)}
    trials = [
        Trial(sequential(PAIR, 2), Timing((0.001,), (0.001, 0.001)), BASELINES[0], 0),
        *(Trial(some(seed), timings[seed], "evolve", seed) for seed in (3, 2, 1)),
        Trial(some(2), timings[1], "evolve", 4),
        Trial(some(4), Failure("timeout", "no answer"), "evolve", 5),
    ]
    remember(asked(), prepared(cache), outcome(some(1)), trials)
    ((_, record),) = records(cache)
    assert record.schedule == some(1)
    assert [trial.schedule for trial in record.trials] == [some(2), some(3)], "no baseline, no failure, fastest first"
    assert (record.result.best_s, record.result.baseline_s, record.result.trials) == (0.015, 0.02, 6)
    assert record.fingerprint == HERE
    assert offered(asked(), prepared(cache)) == (some(1),)


def test_a_gpu_and_its_precision_are_part_of_where_it_was_found(cache: Cache) -> None:
    workload = Workload(PAIR.tenants, "cuda")
    simulated = {"simulate": "h100", "precision": None}
    remember(asked(**simulated), prepared(cache, workload), outcome(some(1)), [])
    ((_, record),) = records(cache)
    assert record.gpu == '{"gpu":"simulated h100","precision":"fp16"}'
    remember(asked(**simulated | {"precision": "fp32"}), prepared(cache, workload), outcome(some(2)), [])
    remember(asked(simulate="a100", precision="fp32"), prepared(cache, workload), outcome(some(3)), [])
    assert len(records(cache)) == 3
    assert offered(asked(**simulated), prepared(cache, workload))[0] == some(1)
    assert offered(asked(simulate="a100", precision="fp32"), prepared(cache, workload))[0] == some(3)


def test_where_the_baseline_won_its_time_is_the_best(cache: Cache) -> None:
    remember(asked(), prepared(cache), outcome(sequential(PAIR, 2), accepted=False), [])
    ((_, record),) = records(cache)
    assert (record.result.accepted, record.result.best_s) == (False, 0.02)


def test_a_cache_that_cannot_be_written_costs_one_line_and_no_artifact(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    remember(asked(), prepared(Cache(tmp_path / "cache")), outcome(some(1)), [])
    (line,) = caplog.messages
    assert line.startswith("the schedule was not kept for later runs: ")


def test_the_search_measures_what_is_offered_right_after_the_baselines() -> None:
    device = SimulatedDevice(PAIR, PROFILE, 2, contention=0.5)
    good, known = some(1), breadth_first(PAIR, 2)
    options = TuneOptions(1e9, 12, "random", offered=(good, good))
    trials = list(tune(PAIR, device, PROFILE, options))
    assert [trial.origin for trial in trials[:5]] == [*BASELINES, "cache", "random"]
    assert trials[3].schedule == good
    again = list(tune(PAIR, device, PROFILE, replace(options, trials=14), history=trials))
    assert {trial.origin for trial in again} == {"random"}, "not measured again when a run goes on"
    assert known.lanes == 2


def test_offers_count_towards_the_trials() -> None:
    device = SimulatedDevice(PAIR, PROFILE, 2)
    options = TuneOptions(1e9, 4, "random", offered=(some(1), some(2), some(3)))
    assert [trial.origin for trial in tune(PAIR, device, PROFILE, options)] == [*BASELINES, "cache"]
