"""External tensor data: which files a model may make us read, and reading them.

A location is followed one component at a time from the model's folder with O_NOFOLLOW, so that what was checked is what
is read, even if somebody exchanges files meanwhile. onnx never opens a file for us.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto

from gacer_tune.errors import UserError
from gacer_tune.frontend.limits import MAX_TOTAL_NBYTES, all_tensors, expected_nbytes


def external_tensors(model: onnx.ModelProto) -> list[TensorProto]:
    """The constants of the graph and its subgraphs whose data is in other files."""
    return [item for item in all_tensors(model.graph) if item.data_location == TensorProto.EXTERNAL]


def load_external_data(model: onnx.ModelProto, folder: Path, used_nbytes: int = 0) -> None:
    """Bring all external data into the model, in place. `used_nbytes` counts towards the limit of 8 GiB."""
    for tensor in external_tensors(model):
        entries = {item.key: item.value for item in tensor.external_data}
        where = f"tensor {tensor.name!r}: external data {entries.get('location', '')!r}"
        with open_below(folder, entries.get("location", ""), where) as descriptor:
            size = os.fstat(descriptor).st_size
            offset, length = _extent(entries, size, where)
            _check_length(tensor, length, where)
            used_nbytes += length
            if used_nbytes > MAX_TOTAL_NBYTES:
                raise UserError(f"{where}: the model is larger than {MAX_TOTAL_NBYTES} bytes in all")
            tensor.raw_data = b"".join(chunks(descriptor, offset, length, where))
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def external_locations(model: onnx.ModelProto) -> dict[str, str]:
    """Each external location with the name of the first tensor that uses it, sorted by location; of functions, too."""
    users: dict[str, str] = {}
    inside = [onnx.GraphProto(node=function.node) for function in model.functions]
    tensors = (tensor for graph in [model.graph, *inside] for tensor in all_tensors(graph))
    for tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = next((item.value for item in tensor.external_data if item.key == "location"), "")
        users.setdefault(location, tensor.name)
    return dict(sorted(users.items()))


@contextmanager
def open_below(folder: Path, location: str, where: str) -> Iterator[int]:
    """A descriptor of the regular file `location` below `folder`; anything else is refused, `where` says for whom."""
    parts = _parts(location, where)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    opened = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        for part in parts:
            _refuse_link(part, opened[-1], where)
            opened.append(os.open(part, flags, dir_fd=opened[-1]))
        _check_file(os.fstat(opened[-1]), where)
        yield opened[-1]
    except OSError as error:
        raise UserError(f"{where}: {_reason(error)}") from None
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)


def _parts(location: str, where: str) -> tuple[str, ...]:
    """The components of a relative location; refused if it is none, on any system."""
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    if not posix.parts or "\0" in location:
        raise UserError(f"{where}: not a file name")
    if posix.is_absolute() or windows.drive or windows.root:
        raise UserError(f"{where}: an absolute path, only files in the model's folder are allowed")
    if ".." in posix.parts or ".." in windows.parts:
        raise UserError(f"{where}: '..' in the path, only files in the model's folder are allowed")
    return posix.parts


def _refuse_link(part: str, folder_descriptor: int, where: str) -> None:
    status = os.stat(part, dir_fd=folder_descriptor, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise UserError(f"{where}: {part!r} is a symbolic link, put the file itself there")


def _check_file(status: os.stat_result, where: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{where}: not a regular file")
    if status.st_nlink > 1:
        raise UserError(f"{where}: the file has {status.st_nlink} hard links, only 1 is allowed: copy it")


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, NotADirectoryError):
        return "a folder of the path is not a folder"
    return f"cannot be read: {error.strerror}"


def _extent(entries: dict[str, str], size: int, where: str) -> tuple[int, int]:
    """Offset and length in the file, checked against its size."""
    numbers = {key: entries.get(key, "") for key in ("offset", "length")}
    for key, text in numbers.items():
        if text and not (text.isascii() and text.isdigit() and len(text) < 20):
            raise UserError(f"{where}: {key} {text[:40]!r} is not a number of bytes")
    offset = int(numbers["offset"] or 0)
    length = int(numbers["length"] or max(size - offset, 0))
    if offset + length > size:
        raise UserError(f"{where}: bytes {offset} to {offset + length} are outside the file of {size} bytes")
    return offset, length


def _check_length(tensor: TensorProto, length: int, where: str) -> None:
    nbytes = expected_nbytes(tensor)
    if nbytes is None:
        raise UserError(f"{where}: text cannot be external data")
    if nbytes != length:
        raise UserError(f"{where}: {length} bytes, the tensor's shape and type need {nbytes}")


def chunks(descriptor: int, offset: int, length: int, where: str) -> Iterator[bytes]:
    """The bytes in pieces of at most 64 MiB."""
    position, end = offset, offset + length
    while position < end:
        chunk = os.pread(descriptor, min(end - position, 2**26), position)
        if not chunk:
            raise UserError(f"{where}: the file became shorter while it was read")
        yield chunk
        position += len(chunk)


def folder_of(path: Path) -> Path:
    """The folder of the model as the user named it, not where a link to the model leads."""
    return Path(os.path.abspath(path)).parent  # noqa: PTH100 - resolve() would follow links
