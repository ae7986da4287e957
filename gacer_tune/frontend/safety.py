"""Reading a model that nobody vouches for: refuse first, allocate afterwards, never follow it out of its folder."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message

from gacer_tune.errors import UserError
from gacer_tune.frontend import contrib, external, limits, structure
from gacer_tune.frontend.constants import lift_constants
from gacer_tune.frontend.graph import Graph
from gacer_tune.frontend.half import widen

# Field number -> wire type of ModelProto, from the published onnx.proto: 0 is a number, 2 has a length.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_FIXED_NBYTES = {1: 8, 5: 4}
_WIRE_TYPES = (0, 1, 2, 5)
# Declared as bytes, but text by the specification.
_TEXT_ATTRIBUTES = ("onnx.AttributeProto.s", "onnx.AttributeProto.strings")


def read_model(path: Path) -> onnx.ModelProto:
    """The model at `path`, checked, with its external data inside, without functions, all constants initializers, and
    float32 where it has fewer bits.

    Raises UserError that names the file and, inside it, the tensor or node that is wrong.
    """
    content = read_file(path)
    model = parse_model(content, path)
    try:
        return _checked(model, path, len(content))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_file(path: Path) -> bytes:
    """The bytes of a regular file of at most 2 GiB."""
    with open_file(path) as file:
        content = file.read(limits.MAX_FILE_NBYTES + 1)
    _check_file_size(path, len(content))
    return content


@contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """A regular file of at most 2 GiB; UserError also where the body cannot read it."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path}: a folder, expected an ONNX file")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: not a regular file")
        _check_file_size(path, status.st_size)
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read: {reason}") from None


def _check_file_size(path: Path, nbytes: int) -> None:
    if nbytes == 0:
        raise UserError(f"{path}: empty file, expected an ONNX model")
    if nbytes > limits.MAX_FILE_NBYTES:
        raise UserError(f"{path}: {nbytes} bytes, at most {limits.MAX_FILE_NBYTES}: save it with external data")


def parse_model(content: bytes, path: Path) -> onnx.ModelProto:
    """The bytes as ModelProto; text, archives and other formats are told from a file that was cut off."""
    end = _scan(content)
    model = onnx.ModelProto()
    try:
        if end == "foreign":
            raise UserError(f"{path}: not an ONNX model")
        if end == "cut":
            raise UserError(f"{path}: truncated ONNX model: the file ends in the middle of a field")
        model.ParseFromString(content)
    except DecodeError:
        raise UserError(f"{path}: damaged ONNX model: it cannot be parsed") from None
    if not model.HasField("graph"):
        raise UserError(f"{path}: not an ONNX model or a truncated one: it has no graph")
    if not model.opset_import:
        raise UserError(f"{path}: truncated ONNX model: it names no operator set")
    return model


def _scan(content: bytes) -> str:
    """Walk the outermost fields of a ModelProto: "whole", "cut" (ends within one) or "foreign" (something else)."""
    position = 0
    while position < len(content):
        first = position == 0
        tag, position = _varint(content, position)
        number, wire = tag >> 3, tag & 7
        # Later versions of the format may have further fields, but no file begins with one.
        expected = _MODEL_FIELDS.get(number, None if first else wire)
        if wire != expected or wire not in _WIRE_TYPES:
            return "foreign"
        if wire in _FIXED_NBYTES:
            position += _FIXED_NBYTES[wire]
        else:
            value, position = _varint(content, position)
            position += value if wire == 2 else 0
        if position > len(content):
            return "cut"
    return "whole"


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """The number at `position` and where the next thing begins; beyond the end if the bytes end within the number."""
    value = 0
    for shift in range(0, 70, 7):
        if position + shift // 7 >= len(content):
            return value, len(content) + 1
        byte = content[position + shift // 7]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + shift // 7 + 1
    return 0, position + 10  # no number has eleven bytes; what follows will not be a known field


def _checked(model: onnx.ModelProto, path: Path, file_nbytes: int) -> onnx.ModelProto:
    """All checks on the parsed model in the order in which each may rely on the earlier ones."""
    if model.training_info:
        raise UserError("the model has training information, export it for inference")
    structure.check_opset(model)
    limits.check_size(model.graph)
    for function in model.functions:
        limits.check_size(onnx.GraphProto(node=function.node))
    _check_text(model)
    model = structure.inline_functions(model)
    limits.check_size(model.graph)
    structure.check_subgraphs(model.graph)
    contrib.spell_out(model)
    structure.check_domains(model)
    external.load_external_data(model, external.folder_of(path), file_nbytes)
    limits.check_data(model.graph)
    structure.freeze_inputs(model.graph)
    structure.check_names(model.graph)
    structure.sort_nodes(model.graph)
    lift_constants(model.graph)
    structure.name_nodes(model.graph)
    _check_with_onnx(model)
    widen(model)
    return model


def _check_text(model: onnx.ModelProto) -> None:
    """Refuse text that is not UTF-8. protobuf only finds it when it is read, as bytes or as an error."""
    waiting: list[Message] = [model]
    try:
        while waiting:
            for field, value in _listed(waiting.pop()):
                values: Sequence[Any] = [value] if isinstance(value, (str, bytes, Message)) else value
                if field.type == field.TYPE_MESSAGE:
                    waiting.extend(values)
                elif field.type == field.TYPE_STRING or field.full_name in _TEXT_ATTRIBUTES:
                    for item in values:
                        _ = item.decode() if isinstance(item, bytes) else item
    except UnicodeDecodeError:
        raise UserError(f"not a valid ONNX model: {field.full_name} is not UTF-8 text") from None


def _listed(message: Message) -> Iterator[tuple[Any, Any]]:
    """The fields that are set. A tensor's data, which ListFields would copy, is left out."""
    if not isinstance(message, onnx.TensorProto):
        yield from message.ListFields()
        return
    for name in ("name", "doc_string"):
        if message.HasField(name):
            yield message.DESCRIPTOR.fields_by_name[name], getattr(message, name)
    for name in ("external_data", "metadata_props"):
        yield message.DESCRIPTOR.fields_by_name[name], getattr(message, name)


def _check_with_onnx(model: onnx.ModelProto) -> None:
    copy = Graph.of(model).skeleton()
    for item in [*copy.graph.input, *copy.graph.output]:
        # The checker demands a shape, runtimes do not; any shape will do, it infers nothing.
        if item.type.HasField("tensor_type") and not item.type.tensor_type.HasField("shape"):
            item.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError as error:
        raise UserError(f"not a valid ONNX model: {' '.join(str(error).split())}") from None
