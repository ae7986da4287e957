"""Small workloads, profiles and schedules at random, and a plan's happens-before relation."""

import random
from collections.abc import Callable, Iterator

from hypothesis import settings
from hypothesis import strategies as st

from gacer_tune.cost_model.profile import Profile
from gacer_tune.ir.neighbours import random_schedule
from gacer_tune.ir.plan import Plan, Slice
from gacer_tune.ir.schedule import Schedule
from gacer_tune.ir.workload import Buffer, BufferKind, Kernel, Op, Operand, Port, Tenant, Variant, Workload

quick = settings(max_examples=40, deadline=None)  # no deadline: the machine may be busy

KINDS = ("conv2d", "matmul", "pool", "elementwise", "unheard-of")


def random_workload(rng: random.Random, tenants: int = 3, ops: int = 6) -> Workload:
    """One to `tenants` tenants whose ops, zero to `ops`, read any earlier values: a random DAG in topological order."""
    count = rng.randint(1, tenants)
    return Workload(tuple(_random_tenant(rng, f"t{number}", rng.randint(0, ops)) for number in range(count)))


def random_profile(rng: random.Random, workload: Workload, contention: float = 1.0) -> Profile:
    """Milliseconds for every variant; shared takes up to 1 + contention times as long as alone."""
    alone = tuple(
        tuple(tuple(rng.uniform(0.0005, 0.005) for _ in kernel.variants) for kernel in tenant.kernels)
        for tenant in workload.tenants
    )
    shared = tuple(
        tuple(tuple(s * (1 + contention * rng.random()) for s in row) for row in kernels) for kernels in alone
    )
    return Profile(alone, shared, handover_s=rng.choice((0.0, 1e-5)), launch_s=rng.choice((0.0, 1e-5)))


def chain(
    name: str, items: tuple[int, ...], variants: int = 1, slo_s: float = 0.0, weight: float = 1.0, nbytes: int = 128
) -> Tenant:
    """A tenant whose ops, of one kernel each, follow one another; items[i] work items in op i."""
    buffers = [Buffer("x", 64, "input")]
    ops = []
    for number, count in enumerate(items):
        last = number == len(items) - 1
        buffers.append(Buffer(f"v{number}", 64, "output" if last else "value"))
        functions = tuple(Variant(f"{name}_{number}_{v}", count) for v in range(variants))
        kernel = Kernel((Operand(number), Operand(number + 1, writes=True)), functions, flops=1000, nbytes=nbytes)
        ops.append(Op(f"op{number}", "conv2d", (kernel,)))
    port = Port("x", 0, (16,), "float32")
    result = Port("y", len(items), (16,), "float32")
    return Tenant(name, f"digest-{name}", tuple(buffers), tuple(ops), (port,), (result,), weight=weight, slo_s=slo_s)


def flat_profile(workload: Workload, seconds: float = 1.0, handover_s: float = 0.0, launch_s: float = 0.0) -> Profile:
    """Every kernel takes `seconds`, alone or not."""
    rows = tuple(tuple((seconds,) * len(k.variants) for k in tenant.kernels) for tenant in workload.tenants)
    return Profile(rows, rows, handover_s, launch_s)


def randoms() -> st.SearchStrategy[random.Random]:
    """Generators whose draws hypothesis chooses, so that what they make shrinks."""
    return st.randoms(use_true_random=False)


def workloads() -> st.SearchStrategy[Workload]:
    return randoms().map(random_workload)


@st.composite
def scheduled(draw: Callable[..., random.Random], most_lanes: int = 4) -> tuple[Workload, Schedule]:
    """A workload and a legal schedule of it on one to `most_lanes` lanes."""
    rng = draw(randoms())
    workload = random_workload(rng)
    return workload, random_schedule(workload, rng.randint(1, most_lanes), rng)


Place = tuple[int, int]


def happens_before(plan: Plan) -> dict[Place, frozenset[Place]]:
    """For each slice (lane, position) all slices that have finished whenever it starts, whatever the timing.

    Built by running the plan, one slice at a time in any order that lanes and waits allow; a plan that cannot be run
    to its end fails.
    """
    before: dict[Place, frozenset[Place]] = {}
    position = [0] * len(plan.lanes)
    while any(at < len(lane) for at, lane in zip(position, plan.lanes, strict=True)):
        runnable = [
            lane
            for lane, at in enumerate(position)
            if at < len(plan.lanes[lane]) and all(position[w.lane] >= w.count for w in plan.lanes[lane][at].waits)
        ]
        assert runnable, "every lane waits for another"
        lane = runnable[-1]
        at = position[lane]
        direct = [(lane, at - 1)] * (at > 0) + [(w.lane, w.count - 1) for w in plan.lanes[lane][at].waits]
        before[lane, at] = frozenset().union(direct, *(before[place] for place in direct))
        position[lane] += 1
    return before


def places(plan: Plan) -> Iterator[tuple[Place, Slice]]:
    for lane, row in enumerate(plan.lanes):
        for at, piece in enumerate(row):
            yield (lane, at), piece


def _random_tenant(rng: random.Random, name: str, ops: int) -> Tenant:
    weight = rng.randint(1, 4)  # equal contents are equally long, so tenants share some and not others
    buffers = [Buffer("x", rng.randint(1, 300), "input"), Buffer("w", 50 * weight, "weight", f"content {weight}")]
    readable, made = [0, 1], []
    for number in range(ops):
        last = number == ops - 1
        kind: BufferKind = "output" if last else "value"
        result = len(buffers)
        buffers.append(Buffer(f"v{number}", rng.randint(1, 300), kind))
        reads = sorted(set(rng.choices(readable, k=rng.randint(1, 2))) | {rng.choice(readable)})
        kernels = [_random_kernel(rng, f"{rng.choice('ab')}{number}", reads, result)]
        if rng.random() < 0.3:  # a second phase, which reads the first or writes another part of the same buffer
            second = len(buffers)
            buffers.append(Buffer(f"s{number}", rng.randint(1, 300), "value"))
            kernels.insert(0, _random_kernel(rng, f"c{number}", reads, second))
            kernels[1] = _random_kernel(rng, f"d{number}", [second], result)
        elif rng.random() < 0.3:
            kernels.append(_random_kernel(rng, f"e{number}", reads, result))
        readable.append(result)
        made.append(Op(f"op{number}", rng.choice(KINDS), tuple(kernels)))
    ports = (Port("x", 0, (4,), "float32"),)
    outputs = (Port("y", readable[-1], (4,), "float32"),) if ops else ()
    return Tenant(name, "digest", tuple(buffers), tuple(made), ports, outputs)


def _random_kernel(rng: random.Random, function: str, reads: list[int], writes: int) -> Kernel:
    operands = (*(Operand(buffer) for buffer in reads), Operand(writes, writes=True))
    variants = tuple(Variant(f"{function}_{v}", rng.randint(1, 9)) for v in range(rng.randint(1, 3)))
    return Kernel(operands, variants, flops=rng.randint(0, 10**6), nbytes=rng.randint(0, 10**5))
