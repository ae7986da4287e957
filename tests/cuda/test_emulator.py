"""The emulator gives what a GPU would, and finds the mistakes that a GPU would not tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gacer_tune.kernels.cuda.gpu import Gpu
from tests.cuda.emulator import EmulationError, emulate

Array = NDArray[Any]
GPU = Gpu()


def kernel(parameters: str, body: str, threads: int = 64) -> str:
    head = f'extern "C" __global__ void __launch_bounds__({threads}) kernel({parameters}, int lo, int hi)'
    return f"{head};\n{head} {{\n  int t = threadIdx.x;\n  int block = (int)blockIdx.x + lo;\n{body}\n}}\n"


REVERSE = """
  __shared__ alignas(64) float kept[64];
  kept[t] = in[block * 64 + t];
  __syncthreads();
  out[block * 64 + t] = kept[63 - t];
"""


def reversed_by(body: str, lo: int = 0, hi: int = 3) -> tuple[Array, Array]:
    source, out = np.arange(192, dtype=np.float32), np.full(192, -1, np.float32)
    emulate(kernel("float* __restrict__ in, float* __restrict__ out", body), GPU, [source, out], lo, hi)
    return source.reshape(3, 64), out.reshape(3, 64)


def test_blocks_of_a_range_run_and_no_others() -> None:
    source, out = reversed_by(REVERSE, 1, 2)
    assert np.array_equal(out[1], source[1, ::-1])
    assert (out[[0, 2]] == -1).all()


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("__syncthreads();", "", "order of threads"),
        ("__syncthreads();", "if (t < 32) __syncthreads();", "never reach"),
        ("in[block * 64 + t]", "in[block * 64 + t + 1]", "heap-buffer-overflow"),
        ("out[block * 64 + t]", "out[block * 64 + t - 1]", "heap-buffer-overflow"),
        ("kept[63 - t]", "kept[64 - t]", "out of bounds|global-buffer-overflow"),
        ("kept[t] = in[block * 64 + t];", "if (block == 0) kept[t] = in[t];", "order of threads|nan"),
        ("out[block * 64 + t] = kept[63 - t]", "if (t < 60) ((float2*)(out + 1))[t / 2] = float2{1, 2}", "misaligned"),
        ("out[block * 64 + t]", "out[t]", "order of threads"),
        ("kept[63 - t]", "no_such_function(t)", "no_such_function"),
    ],
)
def test_mistakes_are_found(right: str, wrong: str, message: str) -> None:
    assert right in REVERSE
    with pytest.raises(EmulationError, match=message):
        _, out = reversed_by(REVERSE.replace(right, wrong))
        if np.isnan(out).any():  # what no thread wrote
            raise EmulationError("nan")


def test_float16_is_rounded_to_even() -> None:
    values = np.random.default_rng(1).standard_normal(64).astype(np.float32)
    values[:4] = [1 + 2**-11, 1 + 3 * 2**-11, 1e-7, 70000]
    out, back = np.zeros(64, np.float16), np.zeros(64, np.float32)
    body = "out[t] = (half)(in[t]); back[t] = (float)(out[t]);"
    emulate(kernel("float* in, half* out, float* back", body), GPU, [values, out, back], 0, 1)
    with np.errstate(over="ignore"):
        assert out.tobytes() == values.astype(np.float16).tobytes()
    assert np.array_equal(back, out.astype(np.float32))


def test_shuffles() -> None:
    values = np.arange(64, dtype=np.float32)
    outs = [np.zeros(64, np.float32) for _ in range(3)]
    body = """
  a[t] = __shfl_xor_sync(0xffffffffu, in[t], 5);
  b[t] = __shfl_down_sync(0xffffffffu, in[t], 3);
  c[t] = __shfl_sync(0xffffffffu, in[t], 7);
"""
    emulate(kernel("float* in, float* a, float* b, float* c", body), GPU, [values, *outs], 0, 1)
    lanes = np.arange(64)
    assert np.array_equal(outs[0], lanes ^ 5)
    assert np.array_equal(outs[1], np.where(lanes % 32 < 29, lanes + 3, lanes))
    assert np.array_equal(outs[2], lanes // 32 * 32 + 7)


COPIES = """
  __shared__ alignas(16) float stage[512];
  gt_copy_async(stage + 4 * t, in + 4 * t, true);
  gt_commit();
  gt_copy_async(stage + 256 + 4 * t, in + 256 + 4 * t, t < 60);
  gt_commit();
  gt_wait<1>();
  __syncthreads();
  out[t] = stage[255 - t];
  gt_wait<0>();
  __syncthreads();
  out[64 + t] = stage[511 - t];
"""


def copied(body: str) -> tuple[Array, Array]:
    source, out = np.arange(1, 513, dtype=np.float32), np.zeros(128, np.float32)
    emulate(kernel("float* in, float* out", body), GPU, [source, out], 0, 1)
    return source, out


def test_asynchronous_copies_land_when_waited_for_and_fill_up_with_zeros() -> None:
    source, out = copied(COPIES)
    source[256 + 240 :] = 0
    assert np.array_equal(out[:64], source[255:191:-1])
    assert np.array_equal(out[64:], source[511:447:-1])


@pytest.mark.parametrize(("right", "wrong"), [("gt_wait<1>()", "gt_wait<2>()"), ("  gt_wait<0>();\n", "")])
def test_a_missing_wait_is_found(right: str, wrong: str) -> None:
    with pytest.raises(EmulationError, match="asynchronous copies land"):
        copied(COPIES.replace(right, wrong))


def test_mma_f16_of_loaded_matrices() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((16, 16)).astype(np.float16), rng.standard_normal((16, 8)).astype(np.float16)
    start = rng.standard_normal((16, 8)).astype(np.float32)
    body = """
  __shared__ alignas(16) half x[256];
  __shared__ alignas(16) half y[256];
  for (int i = 0; i < 8; ++i) x[t * 8 + i] = a[t * 8 + i];
  for (int i = 0; i < 8; ++i) y[t * 8 + i] = t < 16 ? b[t * 8 + i] : (half)0.0f;
  __syncthreads();
  unsigned p[4], q[4];
  gt_ldmatrix(p, x + t % 16 * 16 + t / 16 * 8);
  gt_ldmatrix_trans(q, y + t * 8);
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = c[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2];
  gt_mma_f16(d, p, q);
  for (int i = 0; i < 4; ++i) c[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = d[i];
"""
    found = start.copy()
    emulate(kernel("half* a, half* b, float* c", body, 32), GPU, [a, b, found], 0, 1)
    np.testing.assert_allclose(found, start + a.astype(np.float64) @ b.astype(np.float64), rtol=1e-5, atol=1e-5)


def test_mma_tf32_drops_13_bits() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((16, 8)).astype(np.float32), rng.standard_normal((8, 8)).astype(np.float32)
    body = """
  unsigned p[4], q[2];
  float d[4] = {0, 0, 0, 0};
  for (int i = 0; i < 4; ++i) p[i] = __float_as_uint(a[(t / 4 + i % 2 * 8) * 8 + t % 4 + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) q[i] = __float_as_uint(b[(t % 4 + i * 4) * 8 + t / 4]);
  gt_mma_tf32(d, p, q);
  for (int i = 0; i < 4; ++i) c[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = d[i];
"""
    found = np.zeros((16, 8), np.float32)
    emulate(kernel("float* a, float* b, float* c", body, 32), GPU, [a, b, found], 0, 1)
    kept = [(x.view(np.uint32) & 0xFFFFE000).view(np.float32).astype(np.float64) for x in (a, b)]
    np.testing.assert_allclose(found, kept[0] @ kept[1], rtol=1e-5, atol=1e-5)
    assert np.abs(found - a.astype(np.float64) @ b).max() > 1e-4


def test_rounding_to_tf32() -> None:
    values = np.array([1 + 2**-11, 1 + 2**-12, -1 - 3 * 2**-11, 3.0], np.float32)
    emulate(
        kernel("float* x", "if (t < 4) x[t] = __uint_as_float(gt_tf32(__float_as_uint(x[t])));", 32),
        GPU,
        [values],
        0,
        1,
    )
    assert np.array_equal(values, np.array([1 + 2**-10, 1, -1 - 2**-9, 3], np.float32))


def test_dynamic_shared_memory_is_as_large_as_the_source_says() -> None:
    body = """
  extern __shared__ __align__(64) float kept[];
  kept[t + OFF] = x[t];
  __syncthreads();
  x[t] = kept[63 - t + OFF];
"""
    source = "// dynamic shared memory: 512 bytes\n" + kernel("float* x", body)
    values = np.arange(64, dtype=np.float32)
    emulate(source.replace("OFF", "64"), GPU, [values], 0, 1)
    assert np.array_equal(values, np.arange(64)[::-1])
    with pytest.raises(EmulationError, match=r"overflow|out of bounds"):
        emulate(source.replace("OFF", "65"), GPU, [values], 0, 1)


@pytest.mark.parametrize("place", ["in + 1 + 4 * t, false", "in + 1 + 4 * t, true", "in + 4 * t + (t == 60), t < 60"])
def test_sources_of_copies_are_aligned_also_where_they_are_not_read(place: str) -> None:
    with pytest.raises(EmulationError, match="misaligned asynchronous copy"):
        copied(COPIES.replace("in + 256 + 4 * t, t < 60", place))
