"""CUDA's driver as its Python bindings show it, as far as green contexts go, beside a `FakeCuda`."""

# ruff: noqa: N801, N802 - names are those of the bindings

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from tests.cuda.fake_cuda import FakeCuda


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION = 914


class CUdevResourceType(IntEnum):
    CU_DEV_RESOURCE_TYPE_INVALID = 0
    CU_DEV_RESOURCE_TYPE_SM = 1


class CUgreenCtxCreate_flags(IntEnum):
    CU_GREEN_CTX_DEFAULT_STREAM = 1


class CUstream_flags(IntEnum):
    CU_STREAM_DEFAULT = 0
    CU_STREAM_NON_BLOCKING = 1


@dataclass(frozen=True)
class CUdevice:
    number: int


@dataclass(frozen=True)
class CUdevResource:
    """split, group: from which call it came, and as which of its results."""

    sm: SimpleNamespace
    split: int = 0
    group: int = 0


@dataclass(frozen=True)
class CUdevResourceDesc:
    groups: tuple[int, ...]


@dataclass(frozen=True)
class CUgreenCtx:
    groups: tuple[int, ...]


@dataclass(frozen=True)
class CUstream:
    number: int

    def __int__(self) -> int:
        return self.number


OK = CUresult.CUDA_SUCCESS


@dataclass
class FakeGreen:
    """Groups are of a multiple of `step` multiprocessors."""

    cuda: FakeCuda
    sms: int = 132
    step: int = 8
    splits: int = 0
    contexts: list[CUgreenCtx] = field(default_factory=list)
    CUdevResourceType = CUdevResourceType
    CUgreenCtxCreate_flags = CUgreenCtxCreate_flags
    CUstream_flags = CUstream_flags

    def cuDeviceGet(self, number: int) -> tuple[Any, ...]:
        assert number == 0
        return OK, CUdevice(number)

    def cuDeviceGetDevResource(self, device: CUdevice, kind: CUdevResourceType) -> tuple[Any, ...]:
        assert type(device) is CUdevice and kind is CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM
        return OK, CUdevResource(SimpleNamespace(smCount=self.sms))

    def cuDevSmResourceSplitByCount(self, count: int, whole: CUdevResource, flags: int, least: int) -> tuple[Any, ...]:
        """As many groups as asked for come back, those of them that there are not are empty."""
        assert type(count) is int and type(whole) is CUdevResource and whole.split == 0 and flags == 0
        assert type(least) is int and 0 < least <= self.sms
        self.splits += 1
        size = -(-least // self.step) * self.step
        there = min(count, self.sms // size)
        sizes = [size] * there + [0] * (count - there)
        found = [CUdevResource(SimpleNamespace(smCount=n), self.splits, i) for i, n in enumerate(sizes)]
        return OK, found, there, CUdevResource(SimpleNamespace(smCount=self.sms - there * size), self.splits, -1)

    def cuDevResourceGenerateDesc(self, resources: list[CUdevResource], count: int) -> tuple[Any, ...]:
        assert type(resources) is list and len(resources) == count > 0
        if len({one.split for one in resources}) > 1 or not all(one.sm.smCount for one in resources):
            return CUresult.CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, None
        return OK, CUdevResourceDesc(tuple(one.group for one in resources))

    def cuGreenCtxCreate(self, description: CUdevResourceDesc, device: CUdevice, flags: int) -> tuple[Any, ...]:
        assert type(description) is CUdevResourceDesc and type(device) is CUdevice and type(flags) is int
        assert flags == CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
        self.contexts.append(CUgreenCtx(description.groups))
        return OK, self.contexts[-1]

    def cuGreenCtxDestroy(self, context: CUgreenCtx) -> tuple[Any, ...]:
        self.contexts.remove(context)
        return (OK,)

    def cuGreenCtxStreamCreate(self, context: CUgreenCtx, flags: int, priority: int) -> tuple[Any, ...]:
        assert context in self.contexts and type(flags) is type(priority) is int
        assert flags == CUstream_flags.CU_STREAM_NON_BLOCKING
        made = self.cuda.new_stream(priority, (context.groups[0], context.groups[-1] + 1))
        return OK, CUstream(made.number)
