import pytest
from hypothesis import given
from hypothesis import strategies as st

from gacer_tune.errors import UserError
from gacer_tune.kernels.cuda.compile import Resources
from gacer_tune.kernels.cuda.gpu import GPUS, Gpu
from gacer_tune.kernels.cuda.occupancy import LIMITS, blocks_per_sm, share


@pytest.mark.parametrize(
    ("resources", "sm_80", "sm_90"),
    [
        # Nothing in the way but 64 warps: 64 / 8 = 8.
        (Resources(32, 0, 0, 256), 8, 8),
        # 33 registers are given as 40 (1056 -> 1280 a warp): 16384 // 1280 = 12 warps a scheduler, 48 // 8 = 6.
        (Resources(33, 0, 0, 256), 6, 6),
        # 128 registers: 16384 // 4096 = 4 warps a scheduler, 16 // 4 = 4.
        (Resources(128, 0, 0, 128), 4, 4),
        # 255 registers -> 256: 16384 // 8192 = 2 warps a scheduler; a block of 8 warps takes all.
        (Resources(255, 0, 0, 256), 1, 1),
        # 255 registers and 1024 threads: 8 warps of 32.
        (Resources(255, 0, 0, 1024), 0, 0),
        # Small blocks: 32 of them, though 64 warps would fit.
        (Resources(16, 0, 0, 32), 32, 32),
        # 33 threads are two warps: 64 / 2 = 32.
        (Resources(16, 0, 0, 33), 32, 32),
        # 48 KiB + 1 KiB: 164 // 49 = 3, 228 // 49 = 4.
        (Resources(32, 48 * 1024, 0, 128), 3, 4),
        # 100 KiB + 1 KiB: once in 164, twice in 228.
        (Resources(32, 100 * 1024, 0, 128), 1, 2),
        # One byte takes a unit of 128 beside the 1024: 167936 // 1152 = 145, no limit; 16 warps of 4.
        (Resources(32, 1, 0, 128), 16, 16),
        # More than a block may have.
        (Resources(32, 164 * 1024, 0, 128), 0, 1),
        (Resources(32, 228 * 1024, 0, 128), 0, 0),
    ],
)
def test_by_hand(resources: Resources, sm_80: int, sm_90: int) -> None:
    assert blocks_per_sm(resources, "sm_80") == sm_80
    assert blocks_per_sm(resources, "sm_90") == sm_90
    assert blocks_per_sm(resources, "sm_90a") == sm_90


def test_share_of_a_launch() -> None:
    """108 multiprocessors with 8 blocks each: 864 slots."""
    gpu, resources = GPUS["sm_80"], Resources(32, 0, 0, 256)
    assert share(1, resources, gpu) == pytest.approx(1 / 864)
    assert share(432, resources, gpu) == pytest.approx(0.5)
    assert share(864, resources, gpu) == 1.0
    assert share(5000, resources, gpu) == 1.0


resources_ = st.builds(
    Resources, st.integers(1, 128), st.integers(0, 163 * 1024), st.just(0), st.sampled_from((32, 64, 128, 256, 512))
)


@given(resources_, st.sampled_from(sorted(LIMITS)), st.integers(0, 4000), st.integers(0, 4000))
def test_more_blocks_never_take_less_and_nothing_exceeds_the_limits(
    resources: Resources, arch: str, few: int, more: int
) -> None:
    found, limit = blocks_per_sm(resources, arch), LIMITS[arch]
    assert found >= 1
    assert found * resources.threads <= 32 * limit.warps
    assert found * resources.threads * resources.registers <= limit.registers
    assert found * resources.shared_nbytes <= limit.shared_nbytes
    few, more = sorted((few, more))
    assert 0 <= share(few, resources, Gpu(arch)) <= share(more, resources, Gpu(arch)) <= 1


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match="sm_61: no limits"):
        blocks_per_sm(Resources(32, 0, 0, 32), "sm_61")
    with pytest.raises(ValueError, match="does not fit"):
        share(1, Resources(32, 228 * 1024, 0, 32), Gpu("sm_80"))
