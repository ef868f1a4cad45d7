"""One faulty peer against the fence: no vote of ours may be turned against us (rule 19)."""

from consensus.events import TimerKind
from consensus.messages import NewView
from tests.unit.consensus.replicas import (
    expire,
    fresh,
    hand,
    hand_all,
    make,
    make_block,
    pre_prepare,
    reasons,
    replica,
    sent,
    view_change,
    written,
)

BLOCK = make_block("of view 1", view=1, proposer=1)


def test_our_proposal_cut_out_of_our_new_view_is_a_vote_we_remember() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, view_change(2, 1), view_change(3, 1))
    (new_view,) = sent(make(state, BLOCK), NewView)

    effects = hand(state, 3, new_view.pre_prepare)

    assert state.fence is None
    assert reasons(effects) == ["our own vote, remembered"]


def test_it_is_remembered_after_a_restart_too() -> None:
    state = replica(me=1)
    effects = expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, view_change(2, 1), view_change(3, 1))
    effects += make(state, BLOCK)
    (new_view,) = sent(effects, NewView)
    state, _ = fresh(me=1, records=written(effects))

    hand(state, 3, new_view.pre_prepare)

    assert state.fence is None


def test_another_proposal_than_that_of_our_new_view_still_raises_the_fence() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, view_change(2, 1), view_change(3, 1))
    make(state, BLOCK)

    hand(state, 3, pre_prepare(1, make_block("forgotten", view=1, proposer=1), view=1))

    assert state.fence is not None
