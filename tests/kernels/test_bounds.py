"""No kernel touches an element outside of its operands: each one lies against pages that may not be touched."""

import ctypes
import faulthandler
import mmap
import os
from typing import Any

import numpy as np
import pytest

from gacer_tune.kernels.bmm import BatchMatmul
from gacer_tune.kernels.channel_norm import ChannelNorm
from gacer_tune.kernels.conv2d import Conv2d
from gacer_tune.kernels.depthwise import Depthwise
from gacer_tune.kernels.gather import Gather
from gacer_tune.kernels.lrn import Lrn
from gacer_tune.kernels.normed import Normed
from gacer_tune.kernels.pool import Pool
from gacer_tune.kernels.program import Arg, Program, Step
from gacer_tune.kernels.reduce import Reduce
from gacer_tune.kernels.resize import Resize
from gacer_tune.kernels.rows import Rows
from gacer_tune.kernels.tensor import NBYTES, Tensor, dense
from tests.support.forked import forked
from tests.support.kernels import machines, variants


def biased(shape: tuple[int, ...]) -> Program:
    bias = Tensor(shape, (*(0 for _ in shape[1:]), 1))
    return Program((Step("add", (Arg("acc"), Arg("operand", 0))),), (bias,))


NO_ACCESS = 0  # PROT_NONE, which the module mmap lacks
VECTOR = machines()[0].vector
IMAGE, SMALL = (1, 7, 9, 13), (1, 4, 5, 13)
AROUND = (1, 1, 1, 1)
WEIGHTED = BatchMatmul(dense((33, 7)), dense((1, 7, 2 * VECTOR)), dense((33, 13)), biased((33, 13)), constant=True)
SPECS = [
    Conv2d(dense((1, 7, 9, 5)), dense(SMALL), (3, 3), (2, 2), (1, 1), program=biased(SMALL)),
    Depthwise(dense(IMAGE), dense(SMALL), (3, 3), (2, 2), (1, 1), program=biased(SMALL)),
    Pool(dense(IMAGE), dense(SMALL), "max", (3, 3), (2, 2), AROUND, program=biased(SMALL)),
    Pool(Tensor(IMAGE, (0, 9, 1, 63)), dense(SMALL), "avg", (3, 3), (2, 2), AROUND, program=biased(SMALL)),
    BatchMatmul(dense((3, 5, 7)), dense((3, 7, 13)), dense((3, 5, 13)), biased((3, 5, 13))),
    BatchMatmul(dense((3, 5, 7)), Tensor((3, 7, 13), (91, 1, 7)), dense((3, 5, 13)), biased((3, 5, 13))),
    Reduce(dense((5, 13)), dense((5, 1)), (1,), "max"),
    Reduce(dense((5, 13)), dense((1, 13)), (0,), "sum", biased((1, 13))),
    Rows(dense((3, 13)), dense((3, 13)), "softmax"),
    Rows(dense((3, 13)), dense((3, 13)), "layer_norm", 1e-5, dense((13,)), dense((13,)), biased((3, 13))),
    ChannelNorm(dense((2, 3, 13)), dense((2, 3, 13)), 13, 1e-5, dense((13,)), dense((13,))),
    ChannelNorm(dense((2, 3, 26)), dense((2, 3, 26)), 2, 1e-5, dense((26,)), dense((26,))),
    Normed(WEIGHTED, Rows(WEIGHTED.out, WEIGHTED.out, "layer_norm", 1e-5, dense((13,)), dense((13,)))),
    Gather(dense((4, 13)), dense((3,), "int64"), dense((3, 13)), 0),
    Lrn(dense(IMAGE), dense(IMAGE), 5, program=biased(IMAGE)),
    Resize(dense(SMALL), dense(IMAGE), "nearest", program=biased(IMAGE)),
    Resize(dense(SMALL), dense(IMAGE), "linear", program=biased(IMAGE)),
]


class Fenced:
    """Room for a tensor with a page before and a page behind that may not be touched."""

    def __init__(self, tensor: Tensor) -> None:
        self.nbytes = tensor.span * NBYTES[tensor.dtype]
        self.room = -(-self.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.pages = mmap.mmap(-1, self.room + 2 * mmap.PAGESIZE)
        self.first = np.frombuffer(self.pages, np.uint8).ctypes.data
        for page in (self.first, self.first + mmap.PAGESIZE + self.room):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, NO_ACCESS) == 0

    def address(self, *, at_end: bool) -> int:
        """Where the tensor starts if its last element ends at the page behind, or if it starts at the page before."""
        return self.first + mmap.PAGESIZE + (self.room - self.nbytes if at_end else 0)


def survives(kernel: Any, addresses: list[int], items: int) -> bool:
    """Run a kernel in a process of its own, since a touch of a forbidden page ends it."""

    def run() -> bool:
        faulthandler.disable()
        kernel(*map(ctypes.c_void_p, addresses), 0, items)
        return True

    return os.waitstatus_to_exitcode(os.waitpid(forked(run), 0)[1]) == 0


def test_the_fence_works() -> None:
    fenced = Fenced(dense((3,)))
    assert survives(lambda source, *_: ctypes.memset(source, 0, 12), [fenced.address(at_end=True)], 1)
    assert not survives(lambda source, *_: ctypes.memset(source, 0, 13), [fenced.address(at_end=True)], 1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_stays_inside_its_operands(spec: Any) -> None:
    machine = machines()[0]
    fenced = [Fenced(tensor) for tensor in spec.tensors(machine)]
    for tile, items, kernel in variants(spec, machine):
        for at_end in (True, False):
            assert survives(kernel, [found.address(at_end=at_end) for found in fenced], items), (tile, at_end)
