"""The search of the knee, on a queue that is computed: one server, work that takes its time."""

import pytest

from benchmarks.saturation import Trial, find_knee, has_held, knee_of

CAPACITY_TPS = 1_000.0


def offered_to_a_queue(rate: float) -> Trial:
    """What an M/M/1 queue of that capacity does: p99 = ln(100) / (capacity - rate)."""
    if rate >= CAPACITY_TPS:
        return Trial(offered_tps=rate, tps=CAPACITY_TPS, p99_ms=30_000.0)
    return Trial(offered_tps=rate, tps=rate, p99_ms=4_605 / (CAPACITY_TPS - rate))


@pytest.mark.parametrize("saturated_tps", [400.0, 900.0, 1_000.0])
async def test_the_search_comes_near_the_greatest_rate_that_holds(saturated_tps: float) -> None:
    async def attempt(rate: float) -> Trial:
        return offered_to_a_queue(rate)

    found = await find_knee(attempt, saturated_tps, steps=7)

    greatest = min(CAPACITY_TPS - 4.605, 1.1 * saturated_tps)
    assert found.best is not None
    assert found.best.offered_tps == pytest.approx(greatest, rel=0.02)
    assert found.best.offered_tps <= greatest
    assert len(found.trials) == 7


async def test_a_system_that_holds_nothing_has_no_knee() -> None:
    async def attempt(rate: float) -> Trial:
        return Trial(offered_tps=rate, tps=0.0, p99_ms=None)

    found = await find_knee(attempt, 500.0, steps=4)

    assert found.best is None
    assert [one.offered_tps for one in found.trials] == [250.0, 125.0, 62.5, 31.25]


def test_a_rate_holds_only_if_it_is_committed_at_its_pace_and_in_time() -> None:
    held = Trial(offered_tps=100, tps=98, p99_ms=900)
    behind = Trial(offered_tps=100, tps=96, p99_ms=900)
    slow = Trial(offered_tps=100, tps=100, p99_ms=1_100)

    assert [has_held(one) for one in (held, behind, slow)] == [True, False, False]


def test_the_knee_of_a_curve_stands_below_the_first_rate_that_did_not_hold() -> None:
    curve = [
        Trial(offered_tps=300, tps=300, p99_ms=2_000),
        Trial(offered_tps=100, tps=100, p99_ms=10),
        Trial(offered_tps=400, tps=400, p99_ms=10),
        Trial(offered_tps=200, tps=200, p99_ms=20),
    ]

    assert knee_of(curve) == curve[3]
    assert knee_of([]) is None
