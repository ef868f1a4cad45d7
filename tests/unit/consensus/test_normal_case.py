"""The three phases at one replica: rules 1, 3, 6, 7, 8 and 14."""

from itertools import permutations

import pytest

from consensus.core import handle
from consensus.effects import Broadcast, CheckProposal, Decide, Persist, RequestProposal
from consensus.events import BacklogChanged, TimerKind
from consensus.messages import Commit, Prepare, PrePrepare, ViewChange
from consensus.records import PreparedRecord, ProposalRecord, VoteRecord
from crypto.votes import VoteType
from tests.unit.consensus.replicas import (
    GATHER_MS,
    IDLE_MS,
    accept,
    commit,
    committed,
    decide_next,
    decided,
    delay_of,
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
    prepared,
    propose_to,
    reasons,
    refuse,
    replica,
    sent,
    written,
)

BLOCK = make_block("a")
OTHER = make_block("b")


def test_an_idle_primary_waits_for_the_idle_delay_before_it_asks_for_a_block() -> None:
    state, first = fresh(me=0)

    effects = expire(state, TimerKind.PROPOSE)

    assert delay_of(first, TimerKind.PROPOSE) == [IDLE_MS]
    assert [request.height for request in of(effects, RequestProposal)] == [1]


def test_a_primary_with_a_backlog_waits_for_the_gathering_delay_only() -> None:
    _, first = fresh(me=0, waiting=True)

    assert delay_of(first, TimerKind.PROPOSE) == [GATHER_MS]


def test_a_backlog_that_comes_later_shortens_the_wait() -> None:
    state = replica(me=0)

    effects = handle(state, BacklogChanged(waiting=True))

    assert delay_of(effects, TimerKind.PROPOSE) == [GATHER_MS]


def test_a_non_empty_block_is_followed_by_one_though_nothing_waits() -> None:
    state = replica(me=0, waiting=False)
    expire(state, TimerKind.PROPOSE)
    make(state, BLOCK)
    hand_all(state, prepare(1, BLOCK), prepare(2, BLOCK), commit(1, BLOCK), commit(2, BLOCK))

    effects = execute(state)

    assert delay_of(effects, TimerKind.PROPOSE) == [4 * GATHER_MS]


def test_a_block_that_only_certifies_waits_no_more_once_something_waits() -> None:
    state = replica(me=0, waiting=False)
    expire(state, TimerKind.PROPOSE)
    make(state, BLOCK)
    hand_all(state, prepare(1, BLOCK), prepare(2, BLOCK), commit(1, BLOCK), commit(2, BLOCK))
    execute(state)

    effects = handle(state, BacklogChanged(waiting=True))
    again = handle(state, BacklogChanged(waiting=True))

    assert delay_of(effects, TimerKind.PROPOSE) == [GATHER_MS + GATHER_MS // 5]
    assert delay_of(effects, TimerKind.VIEW_CHANGE) == [], "that timer runs already"
    assert again == []


def test_the_primary_makes_its_proposal_durable_before_anybody_sees_it() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)

    effects = make(state, BLOCK)

    kinds = [type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(Broadcast)
    assert [type(record) for record in written(effects)] == [ProposalRecord, VoteRecord]
    assert sent(effects, PrePrepare) == [pre_prepare(0, BLOCK)]


def test_a_block_that_comes_too_late_for_its_view_is_not_proposed() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)
    expire(state, TimerKind.VIEW_CHANGE)

    effects = make(state, BLOCK)

    assert sent(effects, PrePrepare) == []
    assert reasons(effects) == ["too late for its view"]


def test_a_backup_has_a_proposal_checked_before_it_signs_anything() -> None:
    state = replica(me=1)

    effects = hand(state, 0, pre_prepare(0, BLOCK))

    (check,) = of(effects, CheckProposal)
    assert (check.block, check.is_fresh, check.holders) == (BLOCK, True, (0,))
    assert written(effects) == []
    assert sent(effects, Prepare) == []


def test_a_backup_makes_block_and_vote_durable_before_its_prepare_leaves() -> None:
    state = replica(me=1)
    hand(state, 0, pre_prepare(0, BLOCK))

    effects = accept(state, BLOCK)

    assert [type(effect) for effect in effects] == [Persist, Broadcast]
    assert [type(record) for record in written(effects)] == [ProposalRecord, VoteRecord]
    assert sent(effects, Prepare) == [prepare(1, BLOCK)]


def test_a_backup_makes_the_whole_prepared_certificate_durable_before_its_commit() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    effects = hand(state, 2, prepare(2, BLOCK))

    assert [type(effect) for effect in effects] == [Persist, Broadcast]
    certificate, vote = written(effects)
    assert isinstance(certificate, PreparedRecord)
    assert certificate.certificate == prepared(BLOCK)
    assert isinstance(vote, VoteRecord)
    assert vote.vote is VoteType.COMMIT
    assert sent(effects, Commit) == [commit(1, BLOCK)]


def test_the_primary_commits_on_prepares_of_others_alone() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)
    make(state, BLOCK)

    first = hand(state, 1, prepare(1, BLOCK))
    second = hand(state, 2, prepare(2, BLOCK))

    assert sent(first, Commit) == []
    assert sent(second, Commit) == [commit(0, BLOCK)]


def test_a_prepare_of_the_primary_does_not_count_beside_its_pre_prepare() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    effects = hand(state, 0, prepare(0, BLOCK))

    assert sent(effects, Commit) == []


def test_prepares_for_another_block_do_not_count() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    effects = hand_all(state, prepare(2, OTHER), prepare(3, OTHER))

    assert sent(effects, Commit) == []


def test_a_quorum_of_commits_decides() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)
    hand(state, 2, prepare(2, BLOCK))

    first = hand(state, 0, commit(0, BLOCK))
    second = hand(state, 3, commit(3, BLOCK))

    assert decided(first) == []
    (decision,) = of(second, Decide)
    assert decision.block == BLOCK
    assert decision.certificate == committed(BLOCK, signers=(0, 1, 3))
    assert decision.bodies is None


@pytest.mark.parametrize("order", list(permutations(range(5)))[::7])
def test_the_order_in_which_votes_arrive_does_not_matter(order: tuple[int, ...]) -> None:
    votes = (
        pre_prepare(0, BLOCK),
        prepare(2, BLOCK),
        prepare(3, BLOCK),
        commit(0, BLOCK),
        commit(2, BLOCK),
    )
    state = replica(me=1)

    effects = []
    for position in order:
        vote = votes[position]
        effects += hand(state, vote.signer, vote)
        if of(effects, CheckProposal) and not state.instance.valid and state.tip.height == 0:
            effects += accept(state, BLOCK)

    assert decided(effects) == [BLOCK]


def test_n_1_decides_alone() -> None:
    state = replica(1, me=0)
    expire(state, TimerKind.PROPOSE)

    effects = make(state, BLOCK)

    assert decided(effects) == [BLOCK]
    assert [type(record) for record in written(effects)] == [
        ProposalRecord,
        VoteRecord,
        PreparedRecord,
        VoteRecord,
    ]


@pytest.mark.parametrize("n", [2, 3])
def test_two_and_three_replicas_need_two_votes(n: int) -> None:
    state = replica(n, me=0)
    expire(state, TimerKind.PROPOSE)

    alone = make(state, BLOCK)
    second = hand_all(state, prepare(1, BLOCK), commit(1, BLOCK))

    assert decided(alone) == []
    assert decided(second) == [BLOCK]


def test_nothing_is_signed_at_the_next_height_before_the_decided_block_is_executed() -> None:
    """Rule 7: the header of a block carries the state after its parent."""
    state = replica(me=1)
    propose_to(state, BLOCK)
    hand_all(state, commit(0, BLOCK), commit(2, BLOCK), commit(3, BLOCK))
    following = make_block(
        "next", height=2, parent=BLOCK.digest, parent_certificate=committed(BLOCK)
    )

    before = hand(state, 0, pre_prepare(0, following))
    after = execute(state)

    assert of(before, CheckProposal) == []
    assert written(before) == []
    assert [check.block for check in of(after, CheckProposal)] == [following]


def test_votes_for_the_next_height_are_kept_until_the_present_one_is_decided() -> None:
    """Rule 15: nothing stalls because somebody was a little faster than we."""
    state = replica(me=1)
    propose_to(state, BLOCK)
    following = make_block(
        "next", height=2, parent=BLOCK.digest, parent_certificate=committed(BLOCK)
    )
    hand(state, 0, pre_prepare(0, following))
    hand_all(state, prepare(2, following), prepare(3, following))
    hand_all(state, commit(0, following), commit(2, following))

    hand_all(state, commit(0, BLOCK), commit(2, BLOCK), commit(3, BLOCK))
    effects = execute(state)
    effects += accept(state, following)

    assert sent(effects, Prepare) == [prepare(1, following)]
    assert decided(effects) == [following]


def test_an_equivocating_primarys_first_proposal_counts() -> None:
    state = replica(me=1)
    hand(state, 0, pre_prepare(0, BLOCK))

    effects = hand(state, 0, pre_prepare(0, OTHER))

    assert reasons(effects) == ["equivocation: the first vote counts"]
    assert sent(accept(state, BLOCK), Prepare) == [prepare(1, BLOCK)]


def test_a_backup_that_votes_twice_is_counted_once() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)
    hand(state, 2, prepare(2, OTHER))

    effects = hand(state, 2, prepare(2, BLOCK))

    assert reasons(effects) == ["equivocation: the first vote counts"]
    assert sent(effects, Commit) == []


def test_an_invalid_proposal_ends_its_view_and_never_the_replica() -> None:
    """Rule 7: a wrong root in a proposal is the primary's fault."""
    state = replica(me=1)
    hand(state, 0, pre_prepare(0, BLOCK))

    effects = refuse(state, BLOCK)

    assert "refused: block.state_root" in reasons(effects)
    assert [message.view for message in sent(effects, ViewChange)] == [1]
    assert sent(effects, Prepare) == []


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (make_block("a", parent=OTHER.digest), "another parent than the decided block"),
        (make_block("a", view=1), "a fresh block of another view"),
        (make_block("a", proposer=2), "a fresh block of another proposer"),
        (
            make_block("a", parent_certificate=committed(OTHER)),
            "a certificate of the genesis state",
        ),
    ],
    ids=["parent", "view", "proposer", "certificate"],
)
def test_a_proposal_that_does_not_stand_on_our_chain_ends_its_view(
    block: object, reason: str
) -> None:
    state = replica(me=1)
    assert isinstance(block, type(BLOCK))

    effects = hand(state, 0, pre_prepare(0, block))

    assert reasons(effects) == [reason]
    assert [message.view for message in sent(effects, ViewChange)] == [1]


def test_any_valid_certificate_of_the_parent_is_accepted_in_a_block() -> None:
    state = replica(me=1)
    decide_next(state, "one")
    assert state.tip.certificate == committed(make_block("one", is_empty=True), signers=(0, 2, 3))
    foreign = committed(make_block("one"), signers=(1, 2, 3), view=4)
    following = make_block("two", height=2, parent=state.tip.digest, parent_certificate=foreign)

    effects = propose_to(state, following)

    assert sent(effects, Prepare) == [prepare(1, following)]


def test_a_proposal_of_somebody_else_than_the_primary_is_not_taken() -> None:
    state = replica(me=1)

    effects = hand(state, 2, pre_prepare(2, make_block("a", proposer=2)))

    assert of(effects, CheckProposal) == []


def test_a_proposal_above_view_0_needs_its_new_view() -> None:
    state = replica(me=2)

    effects = hand(state, 1, pre_prepare(1, make_block("a", view=1, proposer=1), view=1))

    assert reasons(effects) == ["a proposal without its new-view"]


def test_a_vote_that_another_sends_on_does_not_count() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    effects = hand(state, 3, prepare(2, BLOCK))

    assert reasons(effects) == ["another's vote"]
    assert sent(effects, Commit) == []


def test_a_commit_quorum_for_a_block_still_being_checked_decides_when_the_check_ends() -> None:
    state = replica(me=1)
    hand(state, 0, pre_prepare(0, BLOCK))
    early = hand_all(state, commit(0, BLOCK), commit(2, BLOCK), commit(3, BLOCK))

    effects = accept(state, BLOCK)

    assert decided(early) == []
    assert decided(effects) == [BLOCK]
    assert sent(effects, Prepare) == []
