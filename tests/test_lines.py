"""Lines come whole and in order however they were written; an end and a delay are told apart."""

from __future__ import annotations

import os

from gacer_tune.lines import Lines

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
