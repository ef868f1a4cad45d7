"""Whose turn it is, and who votes in which epoch: the numbers page of the design, rule 17."""

import pytest

from consensus.events import TimerKind
from consensus.mailbox import count_votes
from consensus.membership import Membership, follow, primary_of
from consensus.messages import Commit, Prepare
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import Height, View
from tests.simulation.ideal import make_validators
from tests.unit.consensus.replicas import (
    commit,
    committed,
    decide_next,
    decided,
    execute,
    hand,
    hand_all,
    make_block,
    prepare,
    propose_to,
    reasons,
    replica,
    sent,
)

SIX = make_validators(7)
GAPPED = Membership(
    Epoch(0), ValidatorSet(members=tuple(one for one in SIX.members if one.index != 3))
)


def turn(height: int, view: int, last: int | None, *, rotate_every: int = 100) -> int:
    return primary_of(
        GAPPED,
        Height(height),
        View(view),
        last_proposer=None if last is None else ReplicaId(last),
        rotate_every=rotate_every,
    )


def test_the_first_block_belongs_to_the_lowest_index() -> None:
    assert turn(1, 0, None) == 0


def test_a_healthy_primary_stays() -> None:
    assert [turn(height, 0, 4) for height in (2, 3, 99)] == [4, 4, 4]


def test_views_go_round_the_members_in_the_order_of_their_indexes() -> None:
    assert [turn(2, view, 1) for view in range(8)] == [1, 2, 4, 5, 6, 0, 1, 2]


def test_nobody_stays_for_ever() -> None:
    assert [turn(height, 0, 4) for height in (99, 100, 101)] == [4, 5, 4]
    assert turn(100, 0, 6) == 0


def test_a_proposer_that_has_left_is_followed_by_the_next_member() -> None:
    assert turn(2, 0, 3) == 4
    assert turn(2, 0, 9) == 0


def test_the_epoch_rises_by_one_when_the_set_differs_and_only_then() -> None:
    seven = Membership(Epoch(4), SIX)

    assert follow(seven, make_validators(7)) is seven
    assert follow(seven, make_validators(6)) == Membership(Epoch(5), make_validators(6))


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10])
def test_every_member_is_primary_within_n_views(n: int) -> None:
    members = Membership(Epoch(0), make_validators(n))

    turns = {
        primary_of(members, Height(9), View(view), last_proposer=ReplicaId(2), rotate_every=100)
        for view in range(n)
    }

    assert turns == set(range(n))


def test_a_set_named_by_the_state_votes_two_heights_later_in_a_new_epoch() -> None:
    state = replica(4, me=1)
    block = make_block("one", is_empty=True)
    propose_to(state, block)
    hand_all(state, *(commit(one, block) for one in (0, 2, 3)))
    execute(state, validators=make_validators(3))

    at_next = (state.members.epoch, state.members.quorum.n)
    decide_next(state, "two")

    assert at_next == (0, 4)
    assert (state.members.epoch, state.members.quorum.n) == (1, 3)


def test_votes_kept_for_a_height_that_turns_out_to_be_of_another_epoch_fall_away() -> None:
    state = replica(4, me=1)
    block = make_block("one", is_empty=True)
    propose_to(state, block)
    hand_all(state, *(commit(one, block) for one in (0, 2, 3)))
    early = hand(state, 0, prepare(0, make_block("three", height=3)))

    execute(state, validators=make_validators(3))

    assert early == []
    assert count_votes(state.next_mailbox) == 0


def test_no_vote_counts_across_epochs() -> None:
    state = replica(4, me=1)
    block = make_block("one", is_empty=True)
    propose_to(state, block)
    hand_all(state, *(commit(one, block) for one in (0, 2, 3)))
    execute(state, validators=make_validators(3))
    decide_next(state, "two")
    three = make_block("three", height=3)

    old_epoch = hand(state, 0, prepare(0, three))

    assert state.members.epoch == 1
    assert reasons(old_epoch) == ["not a member of that height's epoch"]


def test_a_replica_outside_the_set_follows_decisions_and_signs_nothing() -> None:
    state = replica(4, me=3)
    block = make_block("one", is_empty=True)
    propose_to(state, block)
    hand_all(state, *(commit(one, block) for one in (0, 1, 2)))
    execute(state, validators=make_validators(3))
    two = decide_next(state, "two")
    assert state.members.order == (0, 1, 2)

    three = make_block("three", height=3, parent=two.digest, parent_certificate=committed(two))
    effects = propose_to(state, three)

    assert sent(effects, Prepare) == []
    assert sent(effects, Commit) == []
    assert TimerKind.VIEW_CHANGE not in state.timers
    assert decided(effects) == []


def test_what_is_remembered_of_a_member_ends_with_its_membership() -> None:
    state = replica(4, me=1)
    block = make_block("one", is_empty=True)
    propose_to(state, block)
    hand_all(state, *(commit(one, block) for one in (0, 2, 3)))
    execute(state, validators=make_validators(3))
    assert 3 in state.peers

    decide_next(state, "two")

    assert 3 not in state.peers
