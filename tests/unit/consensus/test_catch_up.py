"""Being behind and helping others: rules 10 and 11."""

from consensus.effects import Broadcast, CheckProposal, Decide, Send, SendBlocks, SendProposal
from consensus.events import TimerKind
from consensus.messages import (
    Blocks,
    Commit,
    Fetch,
    FetchProposal,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
)
from consensus.peers import FETCHES_MAX
from crypto.validators import ReplicaId
from crypto.votes import Height
from tests.unit.consensus.replicas import (
    STATUS_MS,
    accept,
    certified,
    commit,
    committed,
    decide_next,
    decided,
    delay_of,
    digest_of,
    execute,
    expire,
    fresh,
    hand,
    hand_all,
    make,
    make_block,
    of,
    pre_prepare,
    prepare,
    propose_to,
    reasons,
    refuse,
    replica,
    sent,
    status,
    view_change,
)

BLOCK = make_block("a")
SECOND = make_block("b", height=2, parent=BLOCK.digest, parent_certificate=committed(BLOCK))
THIRD = make_block("c", height=3, parent=SECOND.digest, parent_certificate=committed(SECOND))


def test_a_heartbeat_says_where_a_replica_stands() -> None:
    state, effects = fresh(me=1)
    propose_to(state, BLOCK)

    later = expire(state, TimerKind.STATUS)

    assert delay_of(effects, TimerKind.STATUS) == [STATUS_MS]
    (first,) = sent(effects, Status)
    assert (first.height, first.view, first.has_proposal) == (1, 0, False)
    (second,) = sent(later, Status)
    assert (second.has_proposal, second.has_committed, second.certificate) == (True, False, None)


def test_a_primary_sends_its_proposal_again_to_whoever_lacks_it() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)
    make(state, BLOCK)

    effects = hand(state, 2, status(1))

    assert effects == [Send(to=ReplicaId(2), message=pre_prepare(0, BLOCK))]


def test_a_backup_sends_its_votes_again_byte_for_byte() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)
    hand(state, 2, prepare(2, BLOCK))

    effects = hand(state, 3, status(1, has_proposal=True))

    assert effects == [
        Send(to=ReplicaId(3), message=commit(1, BLOCK)),
        Send(to=ReplicaId(3), message=prepare(1, BLOCK)),
    ]


def test_whoever_has_committed_needs_our_commit_only() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)
    hand(state, 2, prepare(2, BLOCK))

    effects = hand(state, 3, status(1, has_proposal=True, has_committed=True))

    assert effects == [Send(to=ReplicaId(3), message=commit(1, BLOCK))]


def test_a_view_change_is_sent_again_to_whoever_stayed_below() -> None:
    state = replica(me=3)
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand(state, 2, status(1))

    assert sent(effects, ViewChange) == [view_change(3, 1)]


def test_a_new_view_is_sent_again_to_whoever_waits_for_it() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)
    hand_all(state, view_change(2, 1), view_change(3, 1))
    made = make(state, make_block("fresh", view=1, proposer=1))

    effects = hand(state, 2, status(1, 1))

    assert sent(effects, NewView) == sent(made, NewView)


def test_a_commit_of_a_view_that_was_left_is_sent_again_too() -> None:
    state = replica(me=3)
    propose_to(state, BLOCK)
    hand(state, 1, prepare(1, BLOCK))
    expire(state, TimerKind.VIEW_CHANGE)

    effects = hand(state, 2, status(1, 1))

    assert commit(3, BLOCK) in sent(effects, Commit)
    assert sent(effects, Prepare) == []


def test_a_peer_is_answered_once_between_two_heartbeats() -> None:
    """B1: many questions make no flood of answers."""
    state = replica(me=1)
    propose_to(state, BLOCK)

    answers = [hand(state, 3, status(1)) for _ in range(10)]
    expire(state, TimerKind.STATUS)
    later = hand(state, 3, status(1))

    assert [len(answer) for answer in answers] == [1] + [0] * 9
    assert len(later) == 1


def test_who_speaks_of_a_decided_height_gets_the_proof_that_it_is_decided() -> None:
    state = replica(me=1)
    decide_next(state, "one")

    effects = hand(state, 3, view_change(3, 1))

    (answer,) = of(effects, Send)
    assert isinstance(answer.message, Status)
    assert answer.message.certificate == state.tip.certificate


def test_a_vote_beyond_the_quorum_needs_no_answer() -> None:
    state = replica(me=1)
    decide_next(state, "one")

    effects = hand(state, 3, commit(3, make_block("one")))

    assert reasons(effects) == ["a decided height"]
    assert of(effects, Send) == []


def test_a_proof_that_our_height_is_decided_decides_it_here() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    effects = hand(state, 2, status(2, certificate=committed(BLOCK)))

    assert decided(effects) == [BLOCK]


def test_a_proof_for_a_block_that_we_lack_makes_us_fetch_it_from_its_signers() -> None:
    state = replica(me=3)

    asked = hand(state, 2, status(2, certificate=committed(BLOCK)))
    effects = hand(state, 0, Proposal(block=BLOCK, bodies=b"bodies"))

    question = FetchProposal(height=Height(1), digest=BLOCK.digest)
    assert of(asked, Send) == [Send(to=ReplicaId(0), message=question)]
    (decision,) = of(effects, Decide)
    assert (decision.block, decision.bodies) == (BLOCK, b"bodies")


def test_a_decided_block_that_comes_without_bodies_is_completed_by_the_shell_first() -> None:
    state = replica(me=3)
    hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))

    fetched = hand(state, 0, Proposal(block=BLOCK, bodies=b""))
    effects = accept(state, BLOCK)

    (check,) = of(fetched, CheckProposal)
    assert (check.is_fresh, check.holders, check.bodies) == (False, (0, 1, 2), None)
    assert decided(effects) == [BLOCK]
    assert sent(effects, Prepare) == []


def test_a_decided_block_that_we_would_refuse_is_fetched_again_and_not_too_fast() -> None:
    """Rule 7: whoever decided it has what to execute; executing it will tell who is wrong."""
    state = replica(me=3)
    hand(state, 0, pre_prepare(0, BLOCK))
    hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))

    refused = refuse(state, BLOCK)
    again = expire(state, TimerKind.FETCH)

    assert reasons(refused) == ["refused: block.state_root"]
    assert sent(refused, FetchProposal) == []
    assert len(sent(again, FetchProposal)) == 1


def test_a_peer_that_asks_too_often_is_served_up_to_a_bound() -> None:
    """B1: every answer is work; strangers share one allowance."""
    state = replica(me=1)
    decide_next(state, "one")

    served = [
        len(of(hand(state, sender, Fetch(from_height=Height(1), count=64)), SendBlocks))
        for sender in (*[3] * 100, *range(50, 150))
    ]
    expire(state, TimerKind.STATUS)
    later = hand(state, 3, Fetch(from_height=Height(1), count=64))

    assert sum(served[:100]) == FETCHES_MAX
    assert sum(served[100:]) == FETCHES_MAX
    assert len(of(later, SendBlocks)) == 1


def test_a_decided_block_that_its_proposal_brought_is_not_fetched() -> None:
    """A busy replica is late: the votes for the next height overtook the execution of ours."""
    state = replica(me=3)
    propose_to(state, BLOCK)
    hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))
    hand(state, 0, pre_prepare(0, SECOND))
    hand_all(state, commit(0, SECOND), commit(1, SECOND), commit(2, SECOND))

    executed = execute(state)
    effects = accept(state, SECOND)

    assert sent(executed, FetchProposal) == []
    assert [check.is_fresh for check in of(executed, CheckProposal)] == [False]
    assert decided(effects) == [SECOND]


def test_votes_two_heights_on_wait_for_a_replica_that_still_executes() -> None:
    state = replica(me=3)
    propose_to(state, BLOCK)
    hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))
    hand(state, 0, pre_prepare(0, THIRD))
    hand(state, 0, pre_prepare(0, SECOND))
    hand_all(state, commit(0, SECOND), commit(1, SECOND), commit(2, SECOND))

    execute(state)
    accept(state, SECOND)
    effects = execute(state)

    assert [check.block for check in of(effects, CheckProposal)] == [THIRD]


def test_blocks_that_begin_above_our_height_help_nobody() -> None:
    """A pretender that answers at once with the wrong blocks does not set the pace either."""
    state = replica(me=3)
    hand(state, 2, status(9))

    effects = hand(state, 2, Blocks(blocks=(certified(SECOND),)))

    assert reasons(effects) == ["of no use here"]
    assert sent(effects, Fetch) == []


def test_a_signer_that_has_moved_on_answers_with_the_decided_block() -> None:
    state = replica(me=3)
    hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))

    effects = hand(state, 0, Blocks(blocks=(certified(BLOCK),)))

    assert decided(effects) == [BLOCK]


def test_a_check_that_never_ends_does_not_hold_up_a_decided_block() -> None:
    state = replica(me=3)
    hand(state, 0, pre_prepare(0, BLOCK))

    waiting = hand_all(state, commit(0, BLOCK), commit(1, BLOCK), commit(2, BLOCK))
    effects = expire(state, TimerKind.FETCH)

    assert of(waiting, Send) == []
    (question,) = of(effects, Send)
    assert question.message == FetchProposal(height=Height(1), digest=BLOCK.digest)


def test_who_is_one_height_behind_fetches_if_it_has_not_moved_for_a_heartbeat() -> None:
    state = replica(me=3)
    decide_next(state, "one")

    at_once = hand(state, 2, status(3))
    first = expire(state, TimerKind.STATUS)
    second = expire(state, TimerKind.STATUS)

    assert sent(at_once, Fetch) == []
    assert sent(first, Fetch) == []
    assert [question.from_height for question in sent(second, Fetch)] == [2]


def test_who_is_far_behind_fetches_at_once() -> None:
    state = replica(me=3)

    effects = hand(state, 2, status(9))

    (question,) = of(effects, Send)
    assert question.to == 2
    assert isinstance(question.message, Fetch)


def test_a_vote_for_a_far_height_is_only_a_hint() -> None:
    state = replica(me=3)

    effects = hand(state, 2, commit(2, make_block("far", height=7)))

    assert reasons(effects) == ["a height too far ahead"]
    assert len(sent(effects, Fetch)) == 1


def test_fetched_blocks_are_decided_one_by_one_each_after_the_execution_of_the_last() -> None:
    state = replica(me=3)
    hand(state, 2, status(4))

    first = hand(state, 2, Blocks(blocks=(certified(BLOCK), certified(SECOND), certified(THIRD))))
    second = execute(state)
    third = execute(state)

    assert decided(first) == [BLOCK]
    assert decided(second) == [SECOND]
    assert decided(third) == [THIRD]
    assert [one.bodies for one in of(third, Decide)] == [b"bodies"]


def test_a_block_on_another_parent_is_not_decided_whatever_its_certificate() -> None:
    state = replica(me=3)
    hand(state, 2, status(4))
    foreign = make_block("b", parent=digest_of("elsewhere"))

    effects = hand(state, 2, Blocks(blocks=(certified(foreign),)))

    assert decided(effects) == []
    assert reasons(effects) == ["another parent than the decided block"]


def test_who_claims_to_be_ahead_and_does_not_deliver_is_asked_last() -> None:
    """Attack 19: a claimed height is a hint with a deadline."""
    state = replica(me=3)
    hand(state, 0, status(1_000_000))
    hand(state, 1, status(9))

    second = expire(state, TimerKind.FETCH)
    third = expire(state, TimerKind.FETCH)
    hand(state, 0, Blocks(blocks=()))

    assert [question.to for question in of(second, Send)] == [1]
    assert [question.to for question in of(third, Send)] == [0]


def test_a_pretender_that_answers_at_once_with_nothing_does_not_set_the_pace() -> None:
    state = replica(me=3)
    hand(state, 0, status(1_000_000))

    effects = hand(state, 0, Blocks(blocks=()))

    assert sent(effects, Fetch) == []
    assert TimerKind.FETCH in state.timers


def test_decided_blocks_are_served() -> None:
    state = replica(me=1)
    decide_next(state, "one")
    decide_next(state, "two")

    effects = hand(state, 3, Fetch(from_height=Height(1), count=16))

    assert effects == [SendBlocks(to=ReplicaId(3), from_height=Height(1), count=16)]


def test_heights_that_are_not_decided_are_not_served() -> None:
    state = replica(me=1)
    decide_next(state, "one")

    for height in (0, 2, 2**64 - 1):
        effects = hand(state, 3, Fetch(from_height=Height(height), count=1))
        assert effects == [Send(to=ReplicaId(3), message=Blocks(blocks=()))]


def test_an_undecided_block_is_served_to_whoever_may_have_to_propose_it_again() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    effects = hand(state, 3, FetchProposal(height=Height(1), digest=BLOCK.digest))

    assert effects == [SendProposal(to=ReplicaId(3), height=Height(1), digest=BLOCK.digest)]


def test_a_decided_block_is_served_by_height_when_its_digest_is_asked_for() -> None:
    state = replica(me=1)
    decide_next(state, "one")

    effects = hand(state, 3, FetchProposal(height=Height(1), digest=digest_of("one")))

    assert effects == [SendBlocks(to=ReplicaId(3), from_height=Height(1), count=1)]


def test_a_proposal_that_nobody_asked_for_is_dropped() -> None:
    state = replica(me=1)

    effects = hand(state, 3, Proposal(block=BLOCK, bodies=b""))

    assert reasons(effects) == ["not asked for"]


def test_heartbeats_reveal_nothing_to_a_stranger_and_remember_nothing_of_it() -> None:
    state = replica(me=1)

    effects = hand(state, 77, status(1))

    assert effects == []
    assert 77 not in state.peers


def test_a_replica_that_hears_from_itself_ignores_it() -> None:
    state = replica(me=1)

    effects = hand(state, 1, status(9))

    assert reasons(effects) == ["from ourselves"]
    assert of(effects, Broadcast) == []
    assert sent(accept(state, BLOCK), PrePrepare) == []
