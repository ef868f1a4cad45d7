"""Leaving a view and entering the next at one replica: rules 2, 4, 5 and 9."""

from dataclasses import replace

import pytest

from consensus.effects import Broadcast, CheckProposal, Persist, RequestProposal, Send
from consensus.events import TimerKind
from consensus.messages import (
    Commit,
    FetchProposal,
    NewView,
    Prepare,
    Proposal,
    ViewChange,
)
from consensus.records import NewViewRecord, ProposalRecord, ViewChangeRecord, VoteRecord
from consensus.state import ReplicaState
from crypto.errors import DecodeError
from crypto.schema import from_plain, to_plain
from tests.unit.consensus.replicas import (
    BASE_MS,
    accept,
    commit,
    decided,
    delay_of,
    expire,
    hand,
    hand_all,
    make,
    make_block,
    new_view,
    of,
    pre_prepare,
    prepare,
    prepared,
    propose_to,
    reasons,
    replica,
    sent,
    view_change,
    written,
)

BLOCK = make_block("a")
OTHER = make_block("b")
FRESH = make_block("fresh", view=1, proposer=1)
PREPARED = prepared(BLOCK, backups=(1, 3))


def prepared_replica(*, me: int = 3) -> ReplicaState:
    """A backup that has prepared and committed BLOCK in view 0."""
    state = replica(me=me)
    propose_to(state, BLOCK)
    hand_all(state, *(prepare(one, BLOCK) for one in (1, 2, 3) if one != me))
    return state


def test_a_silent_primary_is_left_when_its_time_is_over() -> None:
    state = replica(me=3)

    effects = expire(state, TimerKind.VIEW_CHANGE)

    assert [type(effect) for effect in effects] == [Persist, Broadcast]
    assert written(effects) == [ViewChangeRecord(message=view_change(3, 1))]
    assert sent(effects, ViewChange) == [view_change(3, 1)]


def test_a_view_change_reports_the_certificate_of_the_highest_prepared_view() -> None:
    state = prepared_replica()

    effects = expire(state, TimerKind.VIEW_CHANGE)

    assert sent(effects, ViewChange) == [view_change(3, 1, report=PREPARED)]


def test_after_leaving_a_view_nothing_is_signed_in_it() -> None:
    """Rule 4: a certificate that arrives late is stored for later view-changes only."""
    state = replica(me=3)
    propose_to(state, BLOCK)
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand_all(state, prepare(1, BLOCK), prepare(2, BLOCK))

    assert written(effects) == []
    assert sent(effects, Commit) == []
    assert state.instance.prepared == PREPARED


def test_a_late_certificate_is_reported_by_the_next_view_change() -> None:
    state = replica(me=3)
    propose_to(state, BLOCK)
    expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, prepare(1, BLOCK), prepare(2, BLOCK))

    effects = hand_all(state, view_change(1, 2), view_change(0, 2))

    assert sent(effects, ViewChange) == [view_change(3, 2, report=PREPARED)]


def test_a_commit_quorum_of_a_view_that_was_left_still_decides() -> None:
    """Rules 3 and 9: a timer asks, it discards nothing."""
    state = prepared_replica()
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand_all(state, commit(0, BLOCK), commit(1, BLOCK))

    assert decided(effects) == [BLOCK]


def test_f_replicas_that_left_move_nobody() -> None:
    state = replica(me=3)

    effects = hand(state, 2, view_change(2, 9))

    assert effects == []
    assert state.instance.view == 0


def test_f_plus_1_replicas_that_left_move_a_replica_to_the_smallest_of_their_views() -> None:
    state = replica(me=3)
    hand(state, 2, view_change(2, 9))

    effects = hand(state, 1, view_change(1, 4))

    assert sent(effects, ViewChange) == [view_change(3, 4)]
    assert state.instance.view == 4


def test_seven_replicas_need_three_to_be_moved() -> None:
    state = replica(7, me=6)
    hand_all(state, view_change(1, 3), view_change(2, 5))
    assert state.instance.view == 0

    hand(state, 3, view_change(3, 8))

    assert state.instance.view == 3


def test_the_timer_of_a_higher_view_runs_only_once_a_quorum_is_known_to_be_there() -> None:
    state = replica(me=3)
    alone = expire(state, TimerKind.VIEW_CHANGE)

    second = hand(state, 0, view_change(0, 1))
    third = hand(state, 2, view_change(2, 1))

    assert delay_of(alone, TimerKind.VIEW_CHANGE) == []
    assert delay_of(second, TimerKind.VIEW_CHANGE) == []
    assert delay_of(third, TimerKind.VIEW_CHANGE) == [2 * BASE_MS]


def test_a_new_primary_asks_for_a_block_once_a_quorum_has_left_the_lower_views() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)

    early = hand(state, 2, view_change(2, 1))
    effects = hand(state, 3, view_change(3, 1))

    assert of(early, RequestProposal) == []
    assert [(one.height, one.view) for one in of(effects, RequestProposal)] == [(1, 1)]


def test_a_new_primary_proves_its_right_durably_before_it_uses_it() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, view_change(2, 1), view_change(3, 1))

    effects = make(state, FRESH)

    kinds = [type(effect) for effect in effects]
    assert kinds == [Persist, Broadcast]
    leavers = [view_change(one, 1) for one in (1, 2, 3)]
    expected = new_view(FRESH, view=1, leavers=leavers, signer=1)
    assert written(effects) == [ProposalRecord(block=FRESH), NewViewRecord(message=expected)]
    assert sent(effects, NewView) == [expected]


def test_a_new_primary_proposes_what_may_have_been_decided_byte_for_byte() -> None:
    state = prepared_replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand_all(state, view_change(2, 1), view_change(3, 1))

    (message,) = sent(effects, NewView)
    assert message.pre_prepare.block == BLOCK
    assert of(effects, RequestProposal) == []


def test_a_new_primary_that_lacks_the_block_fetches_it_from_those_who_promised_it() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)
    certificate = prepared(BLOCK, backups=(2, 3))
    hand(state, 2, view_change(2, 1, report=certificate))

    asked = hand(state, 3, view_change(3, 1))
    fetched = hand(state, 0, Proposal(block=BLOCK, bodies=b"bodies"))
    proposed = accept(state, BLOCK)

    (question,) = of(asked, Send)
    assert question.to == 0
    assert question.message == FetchProposal(height=BLOCK.height, digest=BLOCK.digest)
    (check,) = of(fetched, CheckProposal)
    assert (check.is_fresh, check.bodies, check.holders) == (False, b"bodies", (0, 2, 3))
    (message,) = sent(proposed, NewView)
    assert message.pre_prepare.block == BLOCK


def test_a_signer_that_does_not_deliver_is_followed_by_the_next() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)
    hand(state, 2, view_change(2, 1, report=prepared(BLOCK, backups=(2, 3))))
    hand(state, 0, view_change(0, 1))

    second = expire(state, TimerKind.FETCH)
    third = expire(state, TimerKind.FETCH)

    assert [one.to for one in of([*second, *third], Send)] == [2, 3]


def test_the_certificate_of_the_highest_view_is_chosen() -> None:
    state = replica(me=3)
    low = prepared(BLOCK)
    high = prepared(OTHER, primary=1, backups=(0, 2), view=1)
    leavers = [
        view_change(0, 3, report=low),
        view_change(1, 3, report=high),
        view_change(2, 3),
    ]

    wrong = hand(state, 3 - 0, new_view(BLOCK, view=3, leavers=leavers, signer=3))
    state = replica(me=0)
    right = hand(state, 3, new_view(OTHER, view=3, leavers=leavers, signer=3))

    assert reasons(wrong) == ["from ourselves"]
    assert [check.block for check in of(right, CheckProposal)] == [OTHER]


def test_a_backup_recomputes_the_choice_instead_of_believing_it() -> None:
    """Attack 5: the new primary proposes the block of a lower view."""
    state = replica(me=0)
    leavers = [
        view_change(0, 3, report=prepared(BLOCK)),
        view_change(1, 3, report=prepared(OTHER, primary=1, backups=(0, 2), view=1)),
        view_change(2, 3),
    ]

    effects = hand(state, 3, new_view(BLOCK, view=3, leavers=leavers, signer=3))

    assert reasons(effects) == ["another block than the one that may be decided"]
    assert state.instance.view == 0


def test_a_new_primary_may_not_drop_a_prepared_block() -> None:
    """Attack 4: a block committed at one replica must survive the view-change."""
    state = replica(me=0)
    leavers = [view_change(1, 1), view_change(2, 1, report=prepared(BLOCK)), view_change(3, 1)]

    effects = hand(state, 1, new_view(FRESH, view=1, leavers=leavers, signer=1))

    assert reasons(effects) == ["another block than the one that may be decided"]


def test_with_nothing_prepared_the_new_primary_is_free() -> None:
    state = replica(me=0)
    leavers = [view_change(one, 1) for one in (1, 2, 3)]

    effects = hand(state, 1, new_view(FRESH, view=1, leavers=leavers, signer=1))
    effects += accept(state, FRESH)

    (check,) = of(effects, CheckProposal)
    assert check.is_fresh
    assert sent(effects, Prepare) == [prepare(0, FRESH, view=1)]


def test_a_replica_follows_a_new_view_without_having_left_by_itself() -> None:
    state = replica(me=3)
    leavers = [view_change(one, 1) for one in (0, 1, 2)]

    effects = hand(state, 1, new_view(FRESH, view=1, leavers=leavers, signer=1))

    assert state.instance.view == 1
    assert delay_of(effects, TimerKind.VIEW_CHANGE) == [2 * BASE_MS]


def test_a_replica_prepared_on_one_block_follows_a_new_view_that_chooses_otherwise() -> None:
    """Rule 5: no extra lock check; the certificate of a higher view overrides ours."""
    state = prepared_replica(me=3)
    high = prepared(OTHER, primary=1, backups=(0, 2), view=1)
    leavers = [view_change(0, 2, report=high), view_change(1, 2), view_change(2, 2)]

    effects = hand(state, 2, new_view(OTHER, view=2, leavers=leavers, signer=2))
    effects += accept(state, OTHER)

    assert sent(effects, Prepare) == [prepare(3, OTHER, view=2)]


def test_a_block_known_to_be_valid_is_not_checked_again_in_the_next_view() -> None:
    state = prepared_replica(me=3)
    leavers = [view_change(0, 1, report=prepared(BLOCK)), view_change(1, 1), view_change(2, 1)]

    effects = hand(state, 1, new_view(BLOCK, view=1, leavers=leavers, signer=1))

    assert of(effects, CheckProposal) == []
    assert sent(effects, Prepare) == [prepare(3, BLOCK, view=1)]
    assert [type(record) for record in written(effects)] == [VoteRecord]


@pytest.mark.parametrize(
    ("signer", "leavers", "reason"),
    [
        (2, [0, 1, 3], "not from the primary of that view"),
        (1, [0, 3], "not exactly a quorum of view-changes"),
        (1, [0, 1, 2, 3], "not exactly a quorum of view-changes"),
    ],
    ids=["wrong primary", "too few", "too many"],
)
def test_a_new_view_needs_its_primary_and_exactly_a_quorum(
    signer: int, leavers: list[int], reason: str
) -> None:
    state = replica(me=0)
    block = make_block("fresh", view=1, proposer=signer)
    message = new_view(
        block, view=1, leavers=[view_change(one, 1) for one in leavers], signer=signer
    )

    effects = hand(state, signer, message)

    assert reasons(effects) == [reason]
    assert state.instance.view == 0


def test_a_certificate_with_another_primary_than_the_chain_names_proves_nothing() -> None:
    state = replica(me=0)
    forged = prepared(BLOCK, primary=3, backups=(1, 2))
    leavers = [view_change(1, 1, report=forged), view_change(2, 1), view_change(3, 1)]

    effects = hand(state, 1, new_view(BLOCK, view=1, leavers=leavers, signer=1))

    assert reasons(effects) == ["a certificate with another primary"]


def test_one_view_change_repeated_does_not_make_a_new_view() -> None:
    """Attack 1: it does not even decode."""
    message = new_view(FRESH, view=1, leavers=[view_change(2, 1)], signer=1)
    plain = to_plain(message)
    assert isinstance(plain, tuple)
    repeated = (plain[0], plain[1] * 3, plain[2])

    with pytest.raises(DecodeError, match="once for each signer"):
        from_plain(NewView, repeated)


def test_a_new_view_replayed_from_a_lower_view_changes_nothing() -> None:
    """Attack 7: the view never falls."""
    state = replica(me=0)
    stale = new_view(FRESH, view=1, leavers=[view_change(one, 1) for one in (1, 2, 3)], signer=1)
    hand_all(state, view_change(1, 2), view_change(2, 2))

    effects = hand(state, 1, stale)

    assert state.instance.view == 2
    assert of(effects, CheckProposal) == []


def test_a_second_new_view_of_one_view_is_not_followed() -> None:
    state = replica(me=0)
    leavers = [view_change(one, 1) for one in (1, 2, 3)]
    hand(state, 1, new_view(FRESH, view=1, leavers=leavers, signer=1))
    another = make_block("another", view=1, proposer=1)

    effects = hand(state, 1, new_view(another, view=1, leavers=leavers, signer=1))

    assert reasons(effects) == ["equivocation: the first vote counts"]


def test_view_changes_of_another_height_are_not_counted() -> None:
    state = replica(me=3)

    hand_all(state, view_change(1, 1, height=2), view_change(2, 1, height=2))

    assert state.instance.view == 0


def test_a_new_primarys_prepared_view_change_counts_even_without_others_certificates() -> None:
    """Commit at exactly one replica, then view change: whoever leads must bring BLOCK back."""
    state = prepared_replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand_all(state, view_change(0, 1), view_change(3, 1))

    (message,) = sent(effects, NewView)
    assert message.digest == BLOCK.digest
    assert message.pre_prepare.block.view == 0
    assert message.pre_prepare.view == 1


def test_a_view_change_reports_only_certificates_of_its_own_height_and_of_lower_views() -> None:
    with pytest.raises(ValueError, match="was not left"):
        view_change(1, 1, report=prepared(OTHER, primary=1, backups=(0, 2), view=1))
    with pytest.raises(ValueError, match="another height"):
        replace(view_change(1, 1), prepared=prepared(make_block("c", height=2)))
    with pytest.raises(ValueError, match="not the one voted for"):
        replace(pre_prepare(0, BLOCK), digest=OTHER.digest)
