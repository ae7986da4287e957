"""Lines come whole and in order however they were written; an end and a delay are told apart."""

from __future__ import annotations

import os
import resource
import threading

import pytest

from gacer_tune.lines import Lines, send

PATIENT_S, SHORT_S = 60.0, 0.01


def test_lines_are_whole_however_they_were_written() -> None:
    ours, theirs = os.pipe()
    lines, found = Lines(ours), []
    for block in (b"one\ntwo\nthr", b"ee\n\n"):
        os.write(theirs, block)
        found.append(lines.next(PATIENT_S))
    found += [lines.next(PATIENT_S), lines.next(PATIENT_S)]
    os.close(theirs)
    assert found == [b"one\n", b"two\n", b"three\n", b"\n"]
    assert lines.next(PATIENT_S) == b""
    os.close(ours)


def test_half_a_line_is_waited_for_and_never_given() -> None:
    ours, theirs = os.pipe()
    lines = Lines(ours)
    os.write(theirs, b"half")
    assert lines.next(SHORT_S) is None
    os.write(theirs, b" a line\nand")
    assert lines.next(PATIENT_S) == b"half a line\n"
    os.close(theirs)
    assert lines.next(PATIENT_S) == b""
    os.close(ours)


def test_a_long_line_is_sent_as_it_is_read_and_not_for_ever() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    assert not send(theirs, b"x" * 200_000, 0.2), "nobody reads it"
    reader = threading.Thread(target=lambda: found.append(Lines(ours).next(PATIENT_S)))
    found: list[bytes | None] = []
    reader.start()
    assert send(theirs, b"y" * 200_000 + b"\n", PATIENT_S)
    reader.join()
    assert found[0] is not None and found[0].endswith(b"x" + b"y" * 200_000 + b"\n")
    os.close(ours)
    with pytest.raises(BrokenPipeError):
        send(theirs, b"z", PATIENT_S)
    os.close(theirs)


def test_a_process_may_have_any_number_of_files_open() -> None:
    number, limits = 1500, resource.getrlimit(resource.RLIMIT_NOFILE)
    if -1 < limits[1] <= number:
        pytest.skip("not on this system")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2 * number), limits[1]))
    ours, theirs = os.pipe()
    os.dup2(ours, number)
    os.write(theirs, b"line\n")
    assert Lines(number).next(PATIENT_S) == b"line\n"
    for end in (ours, theirs, number):
        os.close(end)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
