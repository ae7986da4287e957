"""Inputs that are on the GPU already, and outputs that stay there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gacer_tune.errors import UserError
from gacer_tune.executor.cuda.arrays import DeviceArray, address_of, on_gpu
from gacer_tune.ir.lower import lower
from gacer_tune.ir.workload import Port, Workload
from gacer_tune.search.streams import one_stream
from tests.cuda.fake_driver import FakeDriver
from tests.cuda.test_graph import distinct, session_of
from tests.support.workloads import chain

PORT = Port("x", 0, (2, 3), "float32")


class OnGpu:
    """Says that it is on a GPU, as torch's tensors do."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


class Producer(OnGpu):
    """Gives its memory away, ready for a stream, or says why not."""

    def __init__(self, array: Any, refusal: str = "") -> None:
        self.array, self.refusal = array, refusal
        self.asked: list[int] = []

    def __dlpack__(self, *, stream: int) -> Any:
        self.asked.append(stream)
        if self.refusal:
            raise BufferError(self.refusal)
        return self.array.__dlpack__()


def test_arrays_say_where_they_are() -> None:
    assert on_gpu(OnGpu())
    assert not on_gpu(np.zeros(3))
    assert not on_gpu([1.0, 2.0])


def test_addresses_are_those_of_what_fits() -> None:
    array = np.zeros((2, 3), np.float32)
    assert address_of("det.x", array, PORT) == array.ctypes.data


def test_arrays_on_the_gpu_are_made_ready_for_the_default_stream() -> None:
    """Without being told a stream, torch promises nothing for ours."""
    given = Producer(np.zeros((2, 3), np.float32))
    assert address_of("det.x", given, PORT) == given.array.ctypes.data
    assert given.asked == [1]


def test_what_a_library_refuses_to_give_is_told() -> None:
    given = Producer(None, "Can't export tensors that require gradient")
    with pytest.raises(UserError, match=r"det\.x: Can't export tensors that require gradient"):
        address_of("det.x", given, PORT)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2), np.float32), r"det\.x: float32 \(3, 2\) given, float32 \(2, 3\) needed"),
        (np.zeros((2, 3), np.float64), r"det\.x: float64 \(2, 3\) given, float32 \(2, 3\) needed"),
        (np.zeros((3, 2), np.float32).T, r"det\.x: an array with gaps or transposed axes on the GPU"),
    ],
)
def test_what_does_not_fit_is_refused(array: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        address_of("det.x", array, PORT)


def test_outputs_are_described_for_other_libraries() -> None:
    found = DeviceArray((2, 3), "float32", 4096).__cuda_array_interface__
    assert (found["shape"], found["typestr"], found["data"], found["version"]) == ((2, 3), "<f4", (4096, False), 3)


def test_an_input_on_the_device_is_used_once_and_not_overwritten() -> None:
    workload = distinct(Workload((chain("a", (2,)),)))
    (port,), (out,) = workload.tenants[0].inputs, workload.tenants[0].outputs
    session = session_of(workload, 1)
    driver = session.driver
    assert isinstance(driver, FakeDriver)
    loaded = session.load(lower(workload, one_stream(workload, 1), session.memory))

    def result() -> bytes:
        session.run(loaded)
        return session.port(0, out).tobytes()

    session.port(0, port)[...] = 7
    seven = result()
    session.port(0, port)[...] = 9
    nine = result()
    assert seven != nine
    theirs = driver.allocate(port.shape[0])
    driver.upload(theirs, np.full(port.shape, 7, np.uint8), 0)
    session.take(0, port, theirs)
    assert result() == seven, "theirs, not the 9 of the host"
    assert result() == nine, "the host's again"
