"""What one peer may cost: rates, bursts, penalties, and how long it is not read."""

import pytest

from shell.allowance import (
    FRAMES_MAX,
    FRAMES_PER_S,
    INVALID_US,
    PAUSE_S_MAX,
    PAUSE_S_MIN,
    WORK_US_MAX,
    WORK_US_PER_S,
    Allowance,
    pause_s,
    spend,
    take_frame,
)


def flood(allowance: Allowance, seconds: float, *, work_us: float, is_invalid: bool = False) -> int:
    """Send as fast as the node reads, which rests when it is told to; return what was taken."""
    now_s, taken = allowance.at_s, 0
    end_s = now_s + seconds
    while now_s < end_s:
        if take_frame(allowance, now_s):
            taken += 1
            spend(allowance, work_us, is_invalid=is_invalid)
        now_s += max(work_us / 1e6, pause_s(allowance))
    return taken


def test_a_correct_peer_is_never_held_up() -> None:
    allowance = Allowance()

    for at_ms in range(0, 60_000, 5):
        assert take_frame(allowance, at_ms / 1000)
        spend(allowance, 100)
        assert pause_s(allowance) == 0

    assert allowance.dropped == 0


def test_small_frames_are_held_to_their_rate() -> None:
    taken = flood(Allowance(), 60, work_us=1)

    assert taken <= FRAMES_MAX + 60 * FRAMES_PER_S
    assert taken >= 30 * FRAMES_PER_S, "the flooder is not shut out either"


@pytest.mark.parametrize("work_us", [700, 5_000])
def test_costly_frames_are_held_to_their_share_of_a_core(work_us: float) -> None:
    allowance = Allowance()

    flood(allowance, 60, work_us=work_us)

    assert allowance.worked_us <= WORK_US_MAX + 60 * WORK_US_PER_S + work_us


def test_invalid_messages_cost_more_than_their_work() -> None:
    taken = flood(Allowance(), 60, work_us=50, is_invalid=True)

    assert taken <= (WORK_US_MAX + 60 * WORK_US_PER_S) / INVALID_US + 1


def test_what_was_read_already_is_dropped_and_counted() -> None:
    allowance = Allowance()
    for _ in range(FRAMES_MAX):
        take_frame(allowance, 0.0)

    assert not take_frame(allowance, 0.0)
    assert allowance.dropped == 1
    assert pause_s(allowance) == pytest.approx(FRAMES_MAX / 20 / FRAMES_PER_S)


def test_a_single_huge_message_is_taken_and_paid_for_within_a_bounded_rest() -> None:
    allowance = Allowance()
    take_frame(allowance, 0.0)

    spend(allowance, 10 * WORK_US_MAX)

    assert pause_s(allowance) == PAUSE_S_MAX
    assert not take_frame(allowance, PAUSE_S_MAX), "the debt outlasts one rest"
    assert take_frame(allowance, 20.0)


def test_a_rest_is_never_shorter_than_a_timer_can_keep() -> None:
    allowance = Allowance(frames=0.99, work_us=WORK_US_MAX)

    assert pause_s(allowance) >= PAUSE_S_MIN


def test_a_clock_that_steps_back_fills_nothing() -> None:
    allowance = Allowance(frames=0, at_s=100.0)

    assert not take_frame(allowance, 50.0)
