"""What becomes of each form of a case: lowered and compiled alone, then all of them run together in one module."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

import gacer_tune.kernels.emit.compile  # noqa: F401 - takes seconds, so before processes are made of this one
from gacer_tune.errors import UserError
from gacer_tune.executor.session import Session
from gacer_tune.ir.lower import lower
from gacer_tune.ir.schedule import sequential
from gacer_tune.kernels.build import build
from gacer_tune.preparing import machine_here
from gacer_tune.tenants import Model, assemble
from tests.conformance.cases import Array, Case, Form
from tests.support.compiled import kernel_cache, loaded, lowered_alone

Verdict = Literal["right", "refused", "wrong", "crash"]
WORST: tuple[Verdict, ...] = ("wrong", "crash", "right", "refused")  # what a case is, of what its forms are

HALF = {"float16": 2**-8, "bfloat16": 2**-5}  # what their own rounding, in each of some steps, leaves of a result

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a form; the message says how it was refused, what is wrong or where it crashed."""

    verdict: Verdict
    message: str = ""


def judge(forms: Sequence[Form]) -> list[Outcome]:
    """Outcomes in the order of the forms. What raises is the outcome of one form; a signal ends this process."""
    found: dict[int, Outcome] = {}
    models: dict[int, Model] = {}
    for number, form in enumerate(forms):
        made = attempt(lambda form=form: _compiled(form))  # type: ignore[misc]
        if isinstance(made, Outcome):
            found[number] = made
        else:
            models[number] = made
    if models:
        _, _, session = loaded(list(models.values()), 1, most=1)
        _run(session, [forms[number] for number in models])
        for place, number in enumerate(models):
            form, tenant = forms[number], session.workload.tenants[place]
            found[number] = verdict(form.case, [session.port(place, port) for port in tenant.outputs])
    return [found[number] for number in range(len(forms))]


def attempt(action: Callable[[], Result]) -> Result | Outcome:
    """The action's result, or what its exception means."""
    with ThreadPoolExecutor(1) as alone:
        future = alone.submit(action)
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, UserError):
        return Outcome("refused", str(error))
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if "gacer_tune" in frame.filename), frames[-1])
    text = " ".join(str(error).split())
    return Outcome("crash", f"{type(error).__name__}: {text[-300:]} ({Path(place.filename).name}:{place.lineno})")


def _compiled(form: Form) -> Model:
    """The lowered model, its kernels in the cache."""
    model = Model(f"{form.case.name}{form.constant:d}", "0" * 64, lowered_alone(form.model))
    build(assemble([model], machine_here(), most=1).sources.values(), kernel_cache(), 1, lambda _done, _all: None)
    return model


def _run(session: Session, forms: Sequence[Form]) -> None:
    """One run of the sequential schedule, with the inputs of every form, on memory that holds nothing else."""
    for number, (form, tenant) in enumerate(zip(forms, session.workload.tenants, strict=True)):
        feeds = form.feeds
        for port in tenant.inputs:
            session.port(number, port)[...] = feeds[port.name]
    session.poison()
    session.run(session.load(lower(session.workload, sequential(session.workload, 1), session.memory)))


def verdict(case: Case, found: Sequence[Array]) -> Outcome:
    """Whether these are the outputs that the case names, as closely as it asks for."""
    for number, (ours, told) in enumerate(zip(found, case.outputs, strict=True)):
        name = case.model.graph.output[number].name
        half = HALF.get(str(told.dtype), 0.0)  # models of such types become float32
        wanted = told.astype(np.float32) if half else told
        if (ours.shape, ours.dtype) != (wanted.shape, wanted.dtype):
            return Outcome("wrong", f"{name}: {ours.dtype} {ours.shape}, not {wanted.dtype} {wanted.shape}")
        apart = ours != wanted
        if wanted.dtype.kind == "f":
            apart = ~np.isclose(ours, wanted, max(case.rtol, half), max(case.atol, half), equal_nan=True)
        if apart.any():
            at = tuple(int(i) for i in np.argwhere(apart)[0])
            where = f"{name}: {apart.sum()} of {apart.size} differ"
            return Outcome("wrong", f"{where}, first at {at}: {ours[at]}, not {wanted[at]}")
    return Outcome("right")
