"""Rule 13, the arithmetic: who is suspected, when, and who is left alone."""

from collections.abc import Iterator

import pytest

from consensus.messages import Suspicion
from crypto.validators import Epoch, ReplicaId
from shell.watch import (
    DOUBLINGS_MAX,
    PASSED_OVER_MIN,
    Finding,
    Waiting,
    Watch,
    bound_ms,
    look,
    on_block,
)

BOUND_MS = 20_000
TIMEOUT_MS = 2_000
BLOCK_MAX = 100
TICK_MS = 250
NOTHING = Waiting(oldest_ms=None, count=0, block_max=BLOCK_MAX)


def make_watch() -> Watch:
    watch = Watch(bound_ms=BOUND_MS, timeout_ms=TIMEOUT_MS)
    look(watch, base(0), NOTHING, 0)
    return watch


def base(member: int, *, epoch: int = 0) -> tuple[Epoch, ReplicaId]:
    return Epoch(epoch), ReplicaId(member)


def waiting(oldest_ms: int, count: int = 1) -> Waiting:
    return Waiting(oldest_ms=oldest_ms, count=count, block_max=BLOCK_MAX)


def live(
    watch: Watch,
    until_ms: int,
    *,
    since_ms: int = 0,
    primary: int = 0,
    oldest_ms: int | None = None,
    count: int = 1,
    block_every_ms: int = 1_000,
    block: int = 10,
) -> Iterator[tuple[int, Finding]]:
    """Let time pass with the same things waiting; yield what each look finds."""
    for now_ms in range(since_ms + TICK_MS, until_ms + 1, TICK_MS):
        what = NOTHING if oldest_ms is None else waiting(oldest_ms, count)
        if now_ms % block_every_ms == 0:
            on_block(watch, block, what, now_ms)
        yield now_ms, look(watch, base(primary), what, now_ms)


def suspicions(found: Iterator[tuple[int, Finding]]) -> list[tuple[int, Suspicion]]:
    return [(at_ms, one.suspicion) for at_ms, one in found if one.suspicion is not None]


def test_a_primary_that_passes_over_an_old_transaction_is_suspected_at_the_bound() -> None:
    watch = make_watch()

    found = suspicions(live(watch, 60_000, oldest_ms=1_000))

    assert found == [(1_000 + BOUND_MS + TICK_MS, Suspicion.CENSORING)], "once about one base"


def test_what_waits_is_sent_again_once_at_half_the_bound() -> None:
    watch = make_watch()

    resent = [
        (at_ms, one.resend_ms)
        for at_ms, one in live(watch, 15_000, oldest_ms=1_000)
        if one.resend_ms is not None and one.resend_ms[0] <= 1_000 < one.resend_ms[1]
    ]

    assert resent == [(1_000 + BOUND_MS // 2 + TICK_MS, (0, 1_000 + TICK_MS))]


def test_full_blocks_accuse_nobody() -> None:
    watch = make_watch()

    assert suspicions(live(watch, 90_000, oldest_ms=1_000, block=BLOCK_MAX)) == []


def test_blocks_that_are_full_by_their_bytes_accuse_nobody_either() -> None:
    watch = make_watch()

    for at_ms in range(12_000, 12_000 + 1_000 * (PASSED_OVER_MIN + 2), 1_000):
        on_block(watch, 3, waiting(1_000), at_ms, has_room=False)
    full = look(watch, base(0), waiting(1_000), 30_000)
    for at_ms in range(31_000, 31_000 + 1_000 * PASSED_OVER_MIN, 1_000):
        on_block(watch, 3, waiting(1_000), at_ms)
    with_room = look(watch, base(0), waiting(1_000), 35_000)

    assert full.suspicion is None
    assert with_room.suspicion is Suspicion.CENSORING


def test_without_blocks_it_is_the_timer_s_business() -> None:
    watch = make_watch()

    assert suspicions(live(watch, 60_000, oldest_ms=1_000, block_every_ms=10**9)) == []


def test_few_blocks_after_the_second_sending_do_not_suffice() -> None:
    watch = make_watch()
    on_block(watch, 1, waiting(1_000), 12_000)

    finding = look(watch, base(0), waiting(1_000), 30_000)

    assert PASSED_OVER_MIN > 1
    assert finding.suspicion is None


def test_a_served_client_resets_what_was_passed_over() -> None:
    watch = make_watch()
    for at_ms in (12_000, 13_000):
        on_block(watch, 1, waiting(1_000), at_ms)
    on_block(watch, 1, waiting(13_500), 14_000)

    on_block(watch, 1, waiting(13_500), 15_000)

    assert watch.passed_over == 0


def test_a_new_primary_has_its_own_time() -> None:
    watch = make_watch()
    first = suspicions(live(watch, 30_000, oldest_ms=1_000))

    second = suspicions(live(watch, 120_000, since_ms=30_000, primary=1, oldest_ms=1_000))

    assert [at_ms for at_ms, _ in first] == [21_250]
    assert [at_ms for at_ms, _ in second] == [30_250 + BOUND_MS + TICK_MS]
    assert bound_ms(watch) == 2 * BOUND_MS, "the first change did not help"


def test_the_bound_doubles_to_a_limit_and_falls_back_when_a_change_helped() -> None:
    watch = make_watch()
    now_ms = 0
    for turn in range(DOUBLINGS_MAX + 3):
        until_ms = now_ms + 2 * bound_ms(watch)
        until_ms -= until_ms % 1_000
        list(live(watch, until_ms, since_ms=now_ms, primary=turn % 4, oldest_ms=1_000))
        now_ms = until_ms
    doubled = watch.doublings

    look(watch, base(1), waiting(now_ms), now_ms)

    assert doubled == DOUBLINGS_MAX
    assert watch.doublings == 0


def test_a_primary_far_below_the_best_window_is_slow_while_much_waits() -> None:
    watch = make_watch()
    well = suspicions(live(watch, 40_000, oldest_ms=39_000, count=500, block=BLOCK_MAX))

    found = suspicions(
        live(watch, 90_000, since_ms=40_000, oldest_ms=10**6, count=500, block=BLOCK_MAX // 10)
    )

    assert well == []
    assert [reason for _, reason in found] == [Suspicion.SLOW]


def test_little_throughput_is_no_fault_while_little_waits() -> None:
    watch = make_watch()
    list(live(watch, 40_000, oldest_ms=39_000, count=500, block=BLOCK_MAX))

    found = suspicions(live(watch, 120_000, since_ms=40_000, oldest_ms=10**6, count=5, block=1))

    assert found == []


def test_a_primary_just_under_the_timeout_is_slow() -> None:
    """Attack 11: each block comes right before the timer would run out."""
    watch = make_watch()
    quick(watch, 0, 24_000, delay_ms=50)

    found = quick(watch, 24_000, 72_000, delay_ms=1_900)

    assert [finding.suspicion for finding in found if finding.suspicion] == [Suspicion.SLOW]


@pytest.mark.parametrize("delay_ms", [150, 900])
def test_a_little_slower_is_not_slow(delay_ms: int) -> None:
    watch = make_watch()
    quick(watch, 0, 24_000, delay_ms=50)

    found = quick(watch, 24_000, 96_000, delay_ms=delay_ms)

    assert all(finding.suspicion is None for finding in found)


def quick(
    watch: Watch,
    since_ms: int,
    until_ms: int,
    *,
    delay_ms: int,
    late_ms: int | None = None,
    is_near: bool = True,
    primary: int = 0,
) -> list[Finding]:
    """A light load: one transaction after the other, each decided after the same delay.

    Each proposal is here after `late_ms`, a tenth of the delay if None.
    """
    found = []
    late_ms = delay_ms // 10 if late_ms is None else late_ms
    for now_ms in range(since_ms, until_ms, 4_000):
        found.append(look(watch, base(primary), waiting(now_ms), now_ms, is_near=is_near))
        first_ms, second_ms = now_ms + delay_ms, now_ms + 2 * delay_ms
        on_block(watch, 1, NOTHING, first_ms, proposed_ms=now_ms + late_ms)
        on_block(watch, 0, NOTHING, second_ms, proposed_ms=first_ms + late_ms)
    return found


@pytest.mark.parametrize(
    ("late_ms", "is_near", "expected"),
    [
        (1_400, True, [Suspicion.SLOW]),
        (1_400, False, []),  # Far from everybody, or our own absence.
        (900, True, []),  # Less than half of the timeout.
        (150, True, []),  # It is the votes of others that come late.
    ],
)
def test_a_primary_that_is_slow_from_the_first_block_on(
    late_ms: int, is_near: bool, expected: list[Suspicion]
) -> None:
    """Nothing better was ever seen: its own proposals accuse it, if nothing else explains them."""
    watch = make_watch()

    found = quick(watch, 0, 120_000, delay_ms=1_500, late_ms=late_ms, is_near=is_near)

    assert [finding.suspicion for finding in found if finding.suspicion] == expected


def test_one_late_window_suspects_nobody_and_helps_nobody() -> None:
    """A bad minute is no habit; and where all are late, changes must become rarer."""
    watch = make_watch()

    once = quick(watch, 0, 24_000, delay_ms=1_500, late_ms=1_400)
    well = quick(watch, 24_000, 72_000, delay_ms=1_500, late_ms=100)
    for number in range(4):
        start_ms = 72_000 + number * 400_000
        quick(watch, start_ms, start_ms + 400_000, delay_ms=1_500, late_ms=1_400, primary=number)

    assert all(finding.suspicion is None for finding in once + well)
    assert watch.doublings == 3, "each of the four was late, no change helped"


def test_an_idle_consortium_suspects_nobody() -> None:
    watch = make_watch()

    assert suspicions(live(watch, 200_000, block=0, block_every_ms=5_000)) == []


def test_a_new_epoch_is_a_new_base() -> None:
    watch = make_watch()
    list(live(watch, 30_000, oldest_ms=1_000))

    look(watch, base(0, epoch=1), waiting(1_000), 30_250)

    assert not watch.has_complained
