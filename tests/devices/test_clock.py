"""How cycles of the processor become seconds."""

import pytest

from gacer_tune.devices.bench import Mark, cycles_per_second

HERTZ = 2.5e9


def marks(begin_s: float, late_s: tuple[float, ...]) -> list[Mark]:
    """Ends of runs of 1 ms, each looked at so much later."""
    ends = [begin_s + 0.001 * number for number in range(len(late_s))]
    return [(end + late, round(end * HERTZ)) for end, late in zip(ends, late_s, strict=True)]


def test_a_look_at_the_clock_that_came_late_does_no_harm() -> None:
    """Without taking several, 10 ms in 60 would make every time of a kernel a sixth too long or too short."""
    right = marks(1.0, (0.0,) * 5), marks(1.06, (0.0,) * 5)
    early, late = marks(1.0, (0.010, 0, 0, 0, 0)), marks(1.06, (0, 0, 0.010, 0, 0.003))
    assert cycles_per_second(*right) == pytest.approx(HERTZ)
    assert cycles_per_second(early, late) == pytest.approx(HERTZ, rel=0.001)
    assert cycles_per_second(early[:1], late[:1]) > 1.1 * HERTZ
    mostly = marks(1.0, (0.010, 0.012, 0.010, 0, 0.011))
    assert cycles_per_second(mostly, late) == pytest.approx(HERTZ, rel=0.001), "one that is not late is enough"


def test_long_runs_have_one_mark() -> None:
    assert cycles_per_second([(1.0, 1_000)], [(1.5, 2_000)]) == 2_000
