"""Delays: rule 9 (view timers), rule 14 (idle and busy heights)."""

from dataclasses import replace

import pytest

from consensus.core import handle
from consensus.effects import CancelTimer, RequestProposal
from consensus.events import BacklogChanged, LoopLagged, Timer, TimerExpired, TimerKind
from consensus.messages import Prepare, ViewChange
from consensus.timers import certify_delay_ms, gather_delay_ms, timeout_ms
from crypto.votes import View
from tests.unit.consensus.replicas import (
    BASE_MS,
    CAP_MS,
    GATHER_MS,
    IDLE_MS,
    commit,
    config_of,
    decide_next,
    delay_of,
    execute,
    expire,
    fresh,
    hand_all,
    make_block,
    of,
    propose_to,
    reasons,
    replica,
    sent,
    view_change,
)

BLOCK = make_block("a")


@pytest.mark.parametrize(
    ("view", "expected_ms"),
    [(0, 1_000), (1, 2_000), (2, 4_000), (3, 8_000), (4, CAP_MS), (2**32 - 1, CAP_MS)],
)
def test_a_timeout_doubles_with_each_view_up_to_the_cap(view: int, expected_ms: int) -> None:
    assert timeout_ms(config_of(0), View(view)) == expected_ms


def test_an_idle_height_gives_its_primary_the_idle_delay_on_top() -> None:
    _, effects = fresh(me=3)

    assert delay_of(effects, TimerKind.VIEW_CHANGE) == [IDLE_MS + BASE_MS]


def test_a_backlog_makes_the_deadline_short() -> None:
    state = replica(me=3)

    effects = handle(state, BacklogChanged(waiting=True))
    again = handle(state, BacklogChanged(waiting=True))

    assert delay_of(effects, TimerKind.VIEW_CHANGE) == [BASE_MS]
    assert again == []


def test_after_a_non_empty_block_the_deadline_is_short_though_nothing_waits() -> None:
    state = replica(me=3)
    propose_to(state, BLOCK)
    hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))

    effects = execute(state)

    assert delay_of(effects, TimerKind.VIEW_CHANGE) == [BASE_MS]


def test_after_an_empty_block_the_chain_idles() -> None:
    state = replica(me=3)

    decide_next(state, "empty", is_empty=True)

    assert state.instance.is_idle


@pytest.mark.parametrize("gather_ms", [30, 100, 10_000])
def test_gathering_leaves_most_of_the_first_views_time_to_agreement(gather_ms: int) -> None:
    """Or a primary that keeps to its delays after a large block would be left at every height."""
    state = replica(me=0)
    state.config = replace(state.config, gather_ms=gather_ms)
    state.tip = replace(state.tip, transaction_count=5_000)

    assert gather_delay_ms(state) == BASE_MS // 4
    assert certify_delay_ms(state) <= BASE_MS // 4


@pytest.mark.parametrize(
    ("transactions", "expected_ms"), [(0, 5), (1, 6), (5, 10), (20, 25), (45, 50), (5_000, 50)]
)
def test_a_primary_gathers_for_longer_after_a_block_of_many(
    transactions: int, expected_ms: int
) -> None:
    state = replica(me=0)
    state.tip = replace(state.tip, transaction_count=transactions)

    assert gather_delay_ms(state) == expected_ms


def test_an_idle_chain_still_gets_an_empty_block_now_and_then() -> None:
    state, first = fresh(me=0)

    effects = expire(state, TimerKind.PROPOSE)

    assert delay_of(first, TimerKind.PROPOSE) == [IDLE_MS]
    assert len(of(effects, RequestProposal)) == 1


def test_a_backlog_during_a_view_change_waits_for_the_view() -> None:
    state = replica(me=3)
    expire(state, TimerKind.VIEW_CHANGE)

    assert handle(state, BacklogChanged(waiting=True)) == []
    assert state.has_backlog


def test_our_own_lag_moves_the_deadline_once_in_a_view() -> None:
    """Attack 22: if I was asleep, the primary is not to blame."""
    state = replica(me=3)
    handle(state, LoopLagged(lag_ms=400))

    extended = expire(state, TimerKind.VIEW_CHANGE)
    handle(state, LoopLagged(lag_ms=400))
    over = expire(state, TimerKind.VIEW_CHANGE)

    assert delay_of(extended, TimerKind.VIEW_CHANGE) == [400]
    assert sent(extended, ViewChange) == []
    assert [message.view for message in sent(over, ViewChange)] == [1]


def test_a_lag_moves_the_deadline_by_no_more_than_a_timeout() -> None:
    state = replica(me=3)
    handle(state, LoopLagged(lag_ms=10**9))

    effects = expire(state, TimerKind.VIEW_CHANGE)

    assert delay_of(effects, TimerKind.VIEW_CHANGE) == [BASE_MS]


def test_the_expiry_of_a_timer_that_was_replaced_asks_for_nothing() -> None:
    state = replica(me=3)
    stale = Timer(kind=TimerKind.VIEW_CHANGE, serial=state.timers[TimerKind.VIEW_CHANGE])
    handle(state, BacklogChanged(waiting=True))

    effects = handle(state, TimerExpired(timer=stale))

    assert reasons(effects) == ["a timer that was replaced"]
    assert state.instance.view == 0


def test_a_timer_discards_nothing_prepared_or_committed() -> None:
    """Attack 9: the quorum that was a moment too late still decides."""
    state = replica(me=3)
    propose_to(state, BLOCK)
    hand_all(state, commit(0, BLOCK), commit(1, BLOCK))
    expire(state, TimerKind.VIEW_CHANGE)

    hand_all(state, commit(2, BLOCK))

    assert state.tip.digest == BLOCK.digest


def test_a_decision_stops_the_timers_of_its_height() -> None:
    state = replica(me=3)
    propose_to(state, BLOCK)
    serial = state.timers[TimerKind.VIEW_CHANGE]

    effects = hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))

    stopped = CancelTimer(timer=Timer(kind=TimerKind.VIEW_CHANGE, serial=serial))
    assert stopped in effects
    assert TimerKind.VIEW_CHANGE not in state.timers


def test_every_height_starts_at_view_0_with_the_base_timeout() -> None:
    state = replica(me=3)
    propose_to(state, BLOCK)
    hand_all(state, view_change(0, 5), view_change(1, 5))
    assert state.instance.view == 5

    hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))
    effects = execute(state)

    assert state.instance.view == 0
    assert delay_of(effects, TimerKind.VIEW_CHANGE) == [BASE_MS]


def test_a_primary_that_asked_for_a_block_does_not_ask_again() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)

    effects = handle(state, BacklogChanged(waiting=True))

    assert delay_of(effects, TimerKind.PROPOSE) == []
    assert of(effects, RequestProposal) == []
    assert sent(effects, Prepare) == []


def test_gathering_begins_when_something_waits() -> None:
    state = replica(me=0)

    effects = handle(state, BacklogChanged(waiting=True))

    assert delay_of(effects, TimerKind.PROPOSE) == [GATHER_MS]
