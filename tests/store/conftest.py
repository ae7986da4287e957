"""Real processes and a real lack of room for the tests of what must survive both."""

import contextlib
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gacer_tune.store.cache import Cache

Start = Callable[..., "subprocess.Popen[str]"]
Room = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(code, *arguments)` runs Python code in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def launch(code: str, *arguments: object) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def room() -> Room:
    """`with room(n):` lets no file grow beyond n bytes: the kernel cuts the write short, as a full disk does."""

    @contextlib.contextmanager
    def limited(nbytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
