"""Compiling in other processes: what they say is nobody's hurry, and who asks no further does not wait for the rest."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gacer_tune import processes
from gacer_tune.kernels import build
from gacer_tune.kernels.rules import Source
from tests.support.compiled import tiny

# As the compiling process, which gets its folder last, but says much more than a pipe holds and compiles nothing.
TALKATIVE = r"""#!/bin/sh
head -c 300000 /dev/zero >&2
while read -r line; do
    name=$(echo "$line" | sed 's/^{"name": "\([^"]*\)".*/\1/')
    echo object > "$3/$name.o"
    echo "$name"
done
"""


@pytest.fixture(name="sources")
def _sources() -> list[Source]:
    """Made before a test exchanges the compiler: what that one writes must not be in the cache that tests share."""
    found = list(tiny().compiled.sources.values())
    assert len(found) > build.IN_PROCESS
    return found


def test_a_compiler_may_say_more_than_a_pipe_holds(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(TALKATIVE)
    program.chmod(0o755)
    monkeypatch.setattr(processes, "sys", SimpleNamespace(executable=str(program), path=[]))
    found: list[tuple[str, bytes]] = []
    compiling = threading.Thread(target=lambda: found.extend(build._compiled(sources, 2)), daemon=True)
    compiling.start()
    compiling.join(30)
    assert sorted(found) == sorted((source.name, b"object\n") for source in sources)


def test_what_is_left_is_not_compiled_for_nobody(sources: list[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    """As when Ctrl-C was pressed twice: the threads that feed compilers end after what each has in hand."""
    fed: list[str] = []

    def feed(folder: Path, left: Iterator[Source], lock: threading.Lock, done: queue.Queue[str | None]) -> None:
        while True:
            with lock:
                source = next(left, None)
            if source is None:
                return
            fed.append(source.name)
            time.sleep(0.02)
            (folder / f"{source.name}.o").write_bytes(b"object")
            done.put(source.name)

    monkeypatch.setattr(build, "_feed", feed)
    many = sources * 20
    compiled = build._compiled(many, 2)
    next(compiled)
    compiled.close()  # type: ignore[attr-defined]
    assert len(fed) < len(many) / 2


def test_a_kernel_that_does_not_compile_says_why(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nread -r line\necho out of tiles >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(processes, "sys", SimpleNamespace(executable=str(program), path=[]))
    with pytest.raises(build.CompileError, match="does not compile: out of tiles"):
        list(build._compiled(sources, 2))
