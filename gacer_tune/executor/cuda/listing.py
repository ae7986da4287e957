"""A plan as lines of text, for programs that run an artifact without Python.

    memory NBYTES                               one block of the device, 256-byte aligned, for everything
    streams COUNT
    priority STREAM LEVEL                       above the usual 0: goes before streams of lower ones
    parts STREAM FIRST BEHIND                   runs on these of the 8 parts of the multiprocessors only
    weight OFFSET CONTENT                       where a tensor of weights.safetensors lies, by its name there
    input OFFSET NBYTES TENANT NAME             and `output` in the same way
    launch STREAM FUNCTION LO HI OFFSET...      blocks [LO, HI) of a function of module.so, its pointers as offsets
    record STREAM EVENT
    wait STREAM EVENT

Launches, records and waits are in the order in which they are to be captured or issued; stream 0 begins and ends.
"""

from __future__ import annotations

from collections.abc import Iterator

from gacer_tune.executor.cuda.graph import Await, Launch, Record, script
from gacer_tune.executor.memory import SLACK, port_nbytes, weight_places
from gacer_tune.ir.plan import Plan
from gacer_tune.ir.workload import Workload


def listing(workload: Workload, plan: Plan) -> str:
    return "".join(line + "\n" for line in _lines(workload, plan))


def _lines(workload: Workload, plan: Plan) -> Iterator[str]:
    steps, offsets = script(plan), plan.memory.offsets
    yield f"memory {plan.memory.nbytes + SLACK}"
    yield f"streams {steps.streams}"
    yield from (f"priority {stream} {level}" for stream, level in enumerate(plan.priorities) if level)
    spans = ((stream, parts) for stream, parts in enumerate(plan.parts) if parts is not None)
    yield from (f"parts {stream} {first} {behind}" for stream, (first, behind) in spans)
    places = weight_places(workload, plan.memory)
    yield from (f"weight {offset} {content}" for content, offset in places.items())
    for t, tenant in enumerate(workload.tenants):
        for kind, ports in (("input", tenant.inputs), ("output", tenant.outputs)):
            for port in ports:
                yield f"{kind} {offsets[t][port.buffer]} {port_nbytes(port)} {t} {port.name}"
    for operation in steps.operations:
        match operation:
            case Launch(stream, _, piece):
                kernel = workload.tenants[piece.tenant].kernels[piece.kernel]
                pointers = [str(offsets[piece.tenant][o.buffer] + o.offset) for o in kernel.operands]
                function = kernel.variants[piece.variant].function
                yield " ".join(["launch", str(stream), function, str(piece.lo), str(piece.hi), *pointers])
            case Record(stream, event):
                yield f"record {stream} {event}"
            case Await(stream, event):
                yield f"wait {stream} {event}"
