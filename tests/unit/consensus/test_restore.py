"""Restarting from disk: rules 1, 6 and 18."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from consensus.effects import Broadcast, CheckProposal, Effect, Persist, RequestProposal
from consensus.errors import ForeignJournal
from consensus.events import TimerKind
from consensus.messages import (
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.records import (
    Record,
    decode_record,
    encode_record,
    record_height,
)
from consensus.restore import restore
from consensus.state import ReplicaState
from tests.unit.consensus.replicas import (
    accept,
    commit,
    config_of,
    decide_next,
    decided,
    expire,
    fresh,
    genesis_of,
    hand,
    hand_all,
    make,
    make_block,
    new_view,
    of,
    pre_prepare,
    prepare,
    propose_to,
    reasons,
    replica,
    sent,
    start_journal,
    view_change,
    written,
)

BLOCK = make_block("a")
OTHER = make_block("b")


def reborn(me: int, effects: Sequence[Effect]) -> tuple[ReplicaState, list[Effect]]:
    """Crash a replica after `effects`, and start it from the records that were durable."""
    records = [decode_record(encode_record(record)) for record in written(list(effects))]
    return fresh(me=me, records=records)


def votes_in(effects: list[Effect]) -> list[object]:
    return [
        effect.message
        for effect in of(effects, Broadcast)
        if not isinstance(effect.message, Status)
    ]


def test_a_restarted_primary_repeats_its_proposal_byte_for_byte() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)
    before = make(state, BLOCK)

    state, after = reborn(0, before)

    assert sent(after, PrePrepare) == sent(before, PrePrepare) == [pre_prepare(0, BLOCK)]
    assert TimerKind.PROPOSE not in state.timers


def test_a_primary_killed_before_its_proposal_was_durable_makes_another() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)
    state, after = reborn(0, [])

    effects = expire(state, TimerKind.PROPOSE)

    assert votes_in(after) == []
    assert len(of(effects, RequestProposal)) == 1


def test_a_restarted_backup_repeats_its_prepare() -> None:
    state = replica(me=1)
    before = propose_to(state, BLOCK)

    _, after = reborn(1, before)

    assert votes_in(after) == [prepare(1, BLOCK)]


def test_a_restarted_backup_never_votes_for_another_block_in_the_same_view() -> None:
    """S2: the primary equivocates across our restart."""
    state = replica(me=1)
    state, _ = reborn(1, propose_to(state, BLOCK))

    effects = hand(state, 0, pre_prepare(0, OTHER))

    assert reasons(effects) == ["we have voted for another block"]
    assert of(effects, CheckProposal) == []


def test_a_restarted_backup_goes_on_with_the_block_it_voted_for() -> None:
    state = replica(me=1)
    state, _ = reborn(1, propose_to(state, BLOCK))

    again = hand(state, 0, pre_prepare(0, BLOCK))
    effects = hand(state, 2, prepare(2, BLOCK))

    assert again == []
    assert sent(effects, Commit) == [commit(1, BLOCK)]


def test_a_restarted_replica_repeats_its_commit_and_reports_its_certificate() -> None:
    state = replica(me=1)
    before = [*propose_to(state, BLOCK), *hand(state, 2, prepare(2, BLOCK))]
    certificate = state.instance.prepared

    state, after = reborn(1, before)
    effects = expire(state, TimerKind.VIEW_CHANGE)

    assert votes_in(after) == [prepare(1, BLOCK), commit(1, BLOCK)]
    assert sent(effects, ViewChange) == [view_change(1, 1, report=certificate)]


def test_a_restarted_replica_stays_in_the_view_it_had_entered() -> None:
    """Attack 7: the view is durable before any message of it is sent."""
    state = replica(me=3)
    before = expire(state, TimerKind.VIEW_CHANGE)

    state, after = reborn(3, before)
    effects = hand(state, 0, pre_prepare(0, BLOCK))

    assert state.instance.view == 1
    assert votes_in(after) == [view_change(3, 1)]
    assert of(effects, CheckProposal) == []


def test_a_certificate_that_a_view_change_reported_is_remembered_with_it() -> None:
    state = replica(me=3)
    before = propose_to(state, BLOCK)
    before += expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, prepare(1, BLOCK), prepare(2, BLOCK))
    before += hand_all(state, view_change(1, 2), view_change(0, 2))
    certificate = state.instance.prepared
    assert certificate is not None

    state, _ = reborn(3, before)

    assert state.instance.prepared == certificate
    assert state.instance.view == 2


def test_a_replica_that_prepared_above_view_0_returns_to_that_view() -> None:
    state = replica(me=3)
    block = make_block("fresh", view=1, proposer=1)
    leavers = [view_change(one, 1) for one in (0, 1, 2)]
    message = new_view(block, view=1, leavers=leavers, signer=1)
    before = [*hand(state, 1, message), *accept(state, block)]

    state, after = reborn(3, before)
    hand(state, 1, message)
    effects = hand(state, 0, prepare(0, block, view=1))

    assert votes_in(after) == [prepare(3, block, view=1)]
    assert sent(effects, Commit) == [commit(3, block, view=1)]


def test_a_restarted_replica_refuses_a_new_view_that_contradicts_its_vote() -> None:
    state = replica(me=3)
    block = make_block("fresh", view=1, proposer=1)
    another = make_block("another", view=1, proposer=1)
    leavers = [view_change(one, 1) for one in (0, 1, 2)]
    before = [
        *hand(state, 1, new_view(block, view=1, leavers=leavers, signer=1)),
        *accept(state, block),
    ]

    state, _ = reborn(3, before)
    effects = hand(state, 1, new_view(another, view=1, leavers=leavers, signer=1))

    assert reasons(effects) == ["we have voted for another block in that view"]


def test_a_restarted_new_primary_repeats_its_new_view_whole() -> None:
    state = replica(me=1)
    before = expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, view_change(2, 1), view_change(3, 1))
    before += make(state, make_block("fresh", view=1, proposer=1))

    state, after = reborn(1, before)

    assert sent(after, NewView) == sent(before, NewView)
    assert sent(after, ViewChange) == [view_change(1, 1)]
    assert state.instance.proposal is not None


def test_a_new_primary_killed_before_its_new_view_was_durable_collects_again() -> None:
    state = replica(me=1)
    before = expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, view_change(2, 1), view_change(3, 1))

    state, _ = reborn(1, before)
    effects = hand_all(state, view_change(2, 1), view_change(3, 1))

    assert len(of(effects, RequestProposal)) == 1


def test_a_crash_between_two_records_of_one_write_leaves_nothing_sent_and_nothing_broken() -> None:
    state = replica(me=1)
    before = [*propose_to(state, BLOCK), *hand(state, 2, prepare(2, BLOCK))]
    records = written(before)

    for kept in range(len(records) + 1):
        state, after = fresh(me=1, records=records[:kept])
        hand(state, 0, pre_prepare(0, BLOCK))
        accept(state, BLOCK)
        hand_all(state, prepare(2, BLOCK))
        effects = hand_all(state, commit(0, BLOCK), commit(2, BLOCK))
        assert decided(effects) == [BLOCK], f"{kept} records"
        assert len(votes_in(after)) <= 2


def test_records_of_decided_heights_are_passed_over() -> None:
    state = replica(me=1)
    decide_next(state, "one")
    old = written(propose_to(replica(me=1), BLOCK))
    tip = state.tip

    again, effects = restore(
        config_of(1),
        replace(genesis_of(4), tip=tip),
        (start_journal(1), *old),
        is_journal_whole=True,
        waiting=False,
    )

    assert again.fence is None
    assert again.instance.own.prepare is None
    assert votes_in(effects) == []


def test_a_journal_of_another_replica_or_chain_is_refused() -> None:
    with pytest.raises(ForeignJournal):
        restore(
            config_of(1), genesis_of(4), (start_journal(2),), is_journal_whole=True, waiting=False
        )


def test_every_record_says_after_which_height_it_may_be_forgotten() -> None:
    state = replica(me=1)
    records: list[Record] = [
        *written(propose_to(state, BLOCK)),
        *written(hand(state, 2, prepare(2, BLOCK))),
        *written(expire(state, TimerKind.VIEW_CHANGE)),
    ]

    assert [record_height(record) for record in records] == [1] * 5
    assert record_height(start_journal(1)) is None


def test_persisting_is_always_in_front_of_the_vote_that_it_records() -> None:
    state = replica(me=1)
    effects = [
        *propose_to(state, BLOCK),
        *hand(state, 2, prepare(2, BLOCK)),
        *expire(state, TimerKind.VIEW_CHANGE),
        *hand_all(state, view_change(2, 1), view_change(3, 1)),
    ]

    voted = 0
    for before, after in pairwise(effects):
        if isinstance(after, Broadcast) and not isinstance(after.message, Status):
            assert isinstance(before, Persist)
            voted += 1
    assert voted == 4


def test_a_state_can_be_copied_and_both_copies_go_on_alike() -> None:
    state = replica(me=1)
    hand(state, 0, pre_prepare(0, BLOCK))
    other = copy.deepcopy(state)

    one = accept(state, BLOCK)
    two = accept(other, BLOCK)

    assert one == two
    assert state == other
    assert other.instance is not state.instance


def test_a_restored_replica_asks_the_others_where_they_stand() -> None:
    _, effects = fresh(me=2)

    assert [effect for effect in effects if isinstance(effect, Broadcast)] == [
        Broadcast(message=status) for status in sent(effects, Status)
    ]
    assert len(sent(effects, Status)) == 1
    assert sent(effects, Prepare) == []
