"""A model file without its bulk: large constants are passed over unread, so that 400 MB parse in a millisecond.

Only what names other files is looked for in what is left. A file that is not the plain nesting that exporters write is
not judged here: the whole of it is parsed then, and refused with the usual words where it must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

# Field numbers of the published onnx.proto.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_LARGE = 1 << 12  # bytes of a constant that is left out
_HEADER = 20  # bytes of the longest tag and length
_FIXED_NBYTES = {1: 8, 5: 4}


class OddError(Exception):
    """Not the plain nesting of fields, or cut off."""


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    wire: int
    start: int  # of the tag
    body: int
    end: int


def without_bulk(file: BinaryIO, nbytes: int) -> onnx.ModelProto | None:
    """The model in the file of so many bytes, its large constants without data; None where that cannot be told."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(b"".join(_kept(file, 0, nbytes, (_GRAPH, _INITIALIZER))))
    except (OddError, DecodeError):
        return None
    return model


def _kept(file: BinaryIO, start: int, end: int, inside: tuple[int, ...]) -> Iterator[bytes]:
    """The message at these bytes; of fields `inside[0]` what is kept of them in turn, of a tensor no large data."""
    for field in _fields(file, start, end):
        if inside and (field.number, field.wire) == (inside[0], 2):
            kept = b"".join(_kept(file, field.body, field.end, inside[1:]))
            yield bytes(_tag(field.number) + _varint(len(kept))) + kept
        elif inside or field.number != _RAW_DATA or field.end - field.body < _LARGE:
            yield _read(file, field.start, field.end)


def _fields(file: BinaryIO, position: int, end: int) -> Iterator[_Field]:
    while position < end:
        head = _read(file, position, min(position + _HEADER, end))
        tag, used = _number(head, 0)
        number, wire = tag >> 3, tag & 7
        if wire == 2:
            length, used = _number(head, used)
        elif wire == 0:
            length = _number(head, used)[1] - used
        elif wire in _FIXED_NBYTES:
            length = _FIXED_NBYTES[wire]
        else:
            raise OddError
        field = _Field(number, wire, position, position + used, position + used + length)
        if field.end > end:
            raise OddError
        yield field
        position = field.end


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    found = file.read(end - start)
    if len(found) < end - start:
        raise OddError
    return found


def _number(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise OddError
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise OddError


def _tag(number: int) -> bytearray:
    """Of a field that has a length."""
    return _varint(number << 3 | 2)


def _varint(value: int) -> bytearray:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return found
