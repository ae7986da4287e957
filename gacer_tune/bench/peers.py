"""The runtimes that an artifact can be compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib import metadata
from importlib.util import find_spec
from types import MappingProxyType

from gacer_tune.bench.rounds import Say
from gacer_tune.bench.system import RefusedError, System, Task
from gacer_tune.errors import UserError

Opener = Callable[[Task, ExitStack], list[System]]

# Name of a peer -> its distribution; all have the module of the same name.
PEERS = MappingProxyType({"onnxruntime": "onnxruntime", "openvino": "openvino", "tvm": "apache-tvm"})
USUAL = ("onnxruntime", "openvino")
_EXTRA = "pip install 'gacer-tune[peers]'"


def chosen(against: str | None) -> tuple[str, ...]:
    """The peers of `--against`, in the order given; of the usual ones those that are installed if it was not given.

    Raises UserError for an unknown peer, for one asked for that is not installed, and where none is.
    """
    if against is None:
        found = tuple(name for name in USUAL if find_spec(name) is not None)
        if not found:
            raise UserError(f"nothing to compare with: {' and '.join(USUAL)} are not installed: {_EXTRA}")
        return found
    names = tuple(dict.fromkeys(name.strip() for name in against.split(",")))
    for name in names:
        if name not in PEERS:
            raise UserError(f"--against: {name!r} was given, allowed: {', '.join(PEERS)}, separated by commas")
        if find_spec(name) is None:
            raise UserError(f"--against {name}: it is not installed: {_EXTRA}")
    return names


def opened(names: Sequence[str], task: Task, stack: ExitStack, say: Say) -> tuple[list[System], dict[str, str]]:
    """The systems of these peers, and why the others have none. Raises UserError where no peer has any."""
    systems: list[System] = []
    refused: dict[str, str] = {}
    for name in names:
        say(f"loading the models into {name}")
        try:
            systems += _opener(name)(task, stack)
        except RefusedError as error:
            refused[name] = str(error)
    if not systems:
        raise UserError("; ".join(f"{name} cannot run {reason}" for name, reason in refused.items()))
    return systems, refused


def versions(names: Sequence[str]) -> Mapping[str, str]:
    """Of ourselves, of TVM whose runtime we use, and of the peers, by distribution."""
    packages = ("gacer-tune", "apache-tvm", *(PEERS[name] for name in names))
    return {package: metadata.version(package) for package in sorted(set(packages))}


def _opener(name: str) -> Opener:
    if name == "onnxruntime":
        from gacer_tune.bench.ort import systems
    elif name == "openvino":
        from gacer_tune.bench.ov import systems
    else:
        from gacer_tune.bench.relax import systems
    return systems
