"""The fence: rule 19 at one replica."""

from collections.abc import Sequence

import pytest

from consensus.core import handle
from consensus.effects import Effect, Persist
from consensus.events import BacklogChanged, TimerKind
from consensus.messages import (
    Blocks,
    Commit,
    Echo,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
)
from consensus.records import Booted, FenceLifted, FenceRaised, ProposalRecord, Record
from consensus.restore import Decided, restore
from consensus.state import ReplicaState
from crypto.votes import Height
from tests.simulation.ideal import make_validators
from tests.unit.consensus.replicas import (
    accept,
    certified,
    commit,
    committed,
    config_of,
    decided,
    execute,
    expire,
    genesis_of,
    hand,
    hand_all,
    hear,
    make_block,
    pre_prepare,
    prepare,
    propose_to,
    reasons,
    replica,
    sent,
    start_journal,
    status,
    view_change,
    written,
)

BLOCK = make_block("a")


def start(
    me: int,
    records: Sequence[Record],
    *,
    n: int = 4,
    is_whole: bool = True,
    decided_state: Decided | None = None,
) -> tuple[ReplicaState, list[Effect]]:
    return restore(
        config_of(me),
        decided_state or genesis_of(n),
        records,
        is_journal_whole=is_whole,
        waiting=False,
    )


def follow(state: ReplicaState, name: str) -> list[Effect]:
    """Let the others decide one more block, which this replica fetches and executes."""
    tip = state.tip
    block = make_block(
        name,
        height=tip.height + 1,
        parent=tip.digest,
        parent_certificate=tip.certificate,
        is_empty=True,
    )

    hand(state, 0, Blocks(blocks=(certified(block),)))
    assert state.tip.digest == block.digest
    return execute(state)


def test_what_init_wrote_needs_no_fence() -> None:
    state, effects = start(1, (start_journal(1),))

    assert state.fence is None
    assert [type(record) for record in written(effects)] == [Booted]


def test_a_replica_alone_starts_from_what_init_wrote() -> None:
    state, _ = start(0, (start_journal(0),), n=1)

    assert state.fence is None
    assert TimerKind.PROPOSE in state.timers


def test_a_missing_journal_raises_the_fence_durably_before_anything_is_sent() -> None:
    state, effects = start(1, ())

    assert isinstance(effects[0], Persist)
    assert written(effects)[0] == FenceRaised(reason="the vote journal is missing")
    assert state.fence is not None


def test_a_cut_journal_raises_the_fence() -> None:
    state, effects = start(1, (start_journal(1),), is_whole=False)

    assert [type(record) for record in written(effects)] == [FenceRaised, Booted]
    assert state.fence is not None


def test_a_journal_ahead_of_the_blocks_raises_the_fence_up_to_what_was_signed() -> None:
    votes = (ProposalRecord(block=make_block("far", height=9)),)

    state, _ = start(1, (start_journal(1), *votes))

    assert state.fence is not None
    assert state.fence.signed_height == 9


def test_a_fence_survives_a_restart_and_so_does_its_end() -> None:
    raised = FenceRaised(reason="the vote journal is missing")

    fenced, effects = start(1, (raised,))
    free, _ = start(1, (raised, FenceLifted(height=Height(7))))

    assert fenced.fence is not None
    assert [type(record) for record in written(effects)] == [Booted]
    assert free.fence is None


def test_behind_the_fence_nothing_is_signed() -> None:
    state, _ = start(1, ())

    effects = [
        *hand(state, 0, pre_prepare(0, BLOCK)),
        *accept(state, BLOCK),
        *hand_all(state, prepare(2, BLOCK), prepare(3, BLOCK)),
        *hand_all(state, view_change(2, 4), view_change(3, 4)),
        *handle(state, BacklogChanged(waiting=True)),
    ]

    assert written(effects) == []
    for kind in (PrePrepare, Prepare, Commit, ViewChange):
        assert sent(effects, kind) == []
    assert TimerKind.VIEW_CHANGE not in state.timers
    assert TimerKind.PROPOSE not in state.timers


def test_behind_the_fence_decisions_are_followed() -> None:
    state, _ = start(1, ())
    hand_all(state, commit(0, BLOCK), commit(2, BLOCK), commit(3, BLOCK))
    assert state.instance.certificate == committed(BLOCK, signers=(0, 2, 3))

    effects = hand(state, 0, Proposal(block=BLOCK, bodies=b"bodies"))

    assert decided(effects) == [BLOCK]


def test_a_fenced_replica_asks_for_proof_and_gets_it() -> None:
    fenced, effects = start(3, ())
    other = replica(me=1)

    (question,) = sent(effects, Status)
    answers = hand(other, 3, question)

    assert question.is_fenced
    assert [answer.certificate for answer in sent(answers, Echo)] == [None]
    assert sent(answers, Echo)[0].height == 1
    hand(fenced, 1, sent(answers, Echo)[0])
    assert fenced.fence is not None
    assert fenced.fence.proven == {1: 0}


def test_the_fence_falls_three_heights_above_the_highest_of_n_minus_q_plus_f_proofs() -> None:
    state, _ = start(3, ())
    blocks = [make_block("x", height=height) for height in (10, 12)]

    hand(state, 0, status(11, certificate=committed(blocks[0])))
    assert state.fence is not None
    assert state.fence.lift_height is None
    hand(state, 1, status(13, certificate=committed(blocks[1])))

    assert state.fence.lift_height == 15


def test_a_claim_without_proof_does_not_count() -> None:
    state, _ = start(3, ())

    hand(state, 0, status(11))
    hand(state, 1, status(13))
    hand(state, 2, status(15))

    assert state.fence is not None
    assert state.fence.proven == {}


def test_proofs_that_come_later_do_not_move_the_goal() -> None:
    state, _ = start(3, ())
    hand(state, 0, status(1))
    hand(state, 1, status(1))

    hand(state, 2, status(100, certificate=committed(make_block("x", height=99))))

    assert state.fence is not None
    assert state.fence.lift_height == 3


def test_a_replica_votes_again_only_after_deciding_three_more_heights() -> None:
    state, _ = start(3, ())
    hear(state)

    early = [*follow(state, "one"), *follow(state, "two")]
    lifted = follow(state, "three")
    block = make_block(
        "four", height=4, parent=state.tip.digest, parent_certificate=state.tip.certificate
    )
    effects = propose_to(state, block)

    assert written(early) == []
    assert written(lifted) == [FenceLifted(height=Height(3))]
    assert sent(effects, Prepare) == [prepare(3, block)]


def test_where_the_members_change_it_is_they_who_prove_how_high_we_may_have_signed() -> None:
    """A ledger from before a change of members: those who left know nothing of our later votes."""
    state, _ = start(3, ())
    hand(state, 0, status(1))
    hand(state, 1, status(1))
    assert state.fence is not None
    before = state.fence.lift_height
    block = make_block("one", is_empty=True)
    hand(state, 0, Blocks(blocks=(certified(block),)))
    execute(state, validators=make_validators(7))
    follow(state, "two")
    at_the_change = state.fence.lift_height
    proof = committed(make_block("x", height=99))

    for other in (0, 1, 2, 4):
        hand(state, other, status(100, certificate=proof))

    assert (before, at_the_change, state.fence.lift_height) == (3, None, 102)


def test_where_no_replica_may_be_faulty_all_others_must_prove_what_they_decided() -> None:
    state, _ = start(2, (), n=3)

    hand(state, 0, status(1))
    assert state.fence is not None
    assert state.fence.lift_height is None
    hand(state, 1, status(1))

    assert state.fence.lift_height == 3


def test_a_replica_alone_that_lost_its_journal_waits_for_its_operator() -> None:
    state, effects = start(0, (), n=1)

    effects += expire(state, TimerKind.STATUS)
    effects += handle(state, BacklogChanged(waiting=True))

    assert state.fence is not None
    assert state.fence.lift_height is None
    assert TimerKind.PROPOSE not in state.timers


def test_a_vote_of_ours_that_we_do_not_remember_raises_the_fence() -> None:
    """Attack 24: the directory was restored from a copy."""
    state = replica(me=1)

    effects = hand(state, 2, prepare(1, BLOCK))

    assert reasons(effects) == ["our own vote, forgotten"]
    assert [type(record) for record in written(effects)] == [FenceRaised]
    assert state.fence is not None
    assert TimerKind.VIEW_CHANGE not in state.timers


def test_a_vote_of_ours_at_a_height_we_have_not_reached_raises_the_fence() -> None:
    state = replica(me=1)

    hand(state, 2, commit(1, make_block("far", height=40)))

    assert state.fence is not None
    assert state.fence.signed_height == 40


def test_a_vote_of_ours_that_contradicts_what_we_remember_raises_the_fence() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    hand(state, 2, prepare(1, make_block("b")))

    assert state.fence is not None


@pytest.mark.parametrize("view", [0, 1])
def test_votes_of_ours_that_we_remember_raise_nothing(view: int) -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand(state, 2, view_change(1, 1) if view else prepare(1, BLOCK))

    assert reasons(effects) == ["our own vote, remembered"]
    assert state.fence is None


def test_a_vote_of_ours_for_a_decided_height_raises_nothing() -> None:
    state = replica(me=1)
    hand_all(state, commit(0, BLOCK), commit(2, BLOCK), commit(3, BLOCK))

    hand(state, 0, Blocks(blocks=(certified(BLOCK),)))
    execute(state)

    effects = hand(state, 2, prepare(1, make_block("b")))

    assert reasons(effects) == ["our own vote, of a decided height"]
    assert state.fence is None


def test_whoever_holds_a_vote_that_its_sender_does_not_know_of_shows_it() -> None:
    state = replica(me=1)
    hand(state, 3, commit(3, BLOCK))

    effects = hand(state, 3, status(1))

    assert sent(effects, Commit) == [commit(3, BLOCK)]
