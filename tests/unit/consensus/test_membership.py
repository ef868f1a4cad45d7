"""Whose turn it is, and who votes in which epoch: the numbers page of the design, rule 17."""

from dataclasses import replace

import pytest

from consensus.blocks import Block
from consensus.events import TimerKind
from consensus.mailbox import count_votes
from consensus.membership import Membership, Pace, follow, primary_of
from consensus.messages import Blocks, Commit, Prepare, ViewChange
from consensus.restore import restore
from consensus.state import ReplicaState, pace_of, primary_at
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import FIRST_VIEW, Height, View
from tests.simulation.ideal import make_validators
from tests.unit.consensus.replicas import (
    IDLE_MS,
    certified,
    commit,
    committed,
    config_of,
    decide_next,
    decided,
    execute,
    genesis_of,
    hand,
    hand_all,
    make_block,
    prepare,
    propose_to,
    reasons,
    replica,
    sent,
    start_journal,
    view_change,
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


def test_a_pace_named_by_the_state_holds_two_heights_later_in_the_same_epoch() -> None:
    state = replica(me=3)
    quicker = Pace(idle_block_ms=100, rotate_every=2)

    decide_next(state, "one", pace=quicker)
    at_two = primary_at(state, FIRST_VIEW), pace_of(state)
    decide_next(state, "two")

    assert at_two == (0, Pace(idle_block_ms=IDLE_MS, rotate_every=100))
    assert pace_of(state) == quicker
    assert state.members.epoch == 0
    assert primary_at(state, FIRST_VIEW) == 0
    decide_next(state, "three")
    assert primary_at(state, FIRST_VIEW) == 1  # Height 4 is a multiple of 2.


def next_block(state: ReplicaState, name: str) -> Block:
    tip = state.tip
    return make_block(
        name, height=tip.height + 1, parent=tip.digest, parent_certificate=tip.certificate
    )


def take(state: ReplicaState, name: str, *, is_mute: bool) -> None:
    """Have a replica take the next block from a peer, with its certificate."""
    hand(state, 0, Blocks(blocks=(certified(next_block(state, name)),)))
    execute(state, is_mute=is_mute)


def test_a_replica_without_the_key_that_the_set_names_follows_and_signs_nothing() -> None:
    state = replica(me=1)
    take(state, "one", is_mute=True)
    take(state, "two", is_mute=True)

    effects = propose_to(state, next_block(state, "three"))
    effects += hand_all(state, *(view_change(one, 1, height=3) for one in (0, 2, 3)))

    assert not sent(effects, Prepare)
    assert not sent(effects, ViewChange)
    assert (state.tip.height, state.members.epoch) == (2, 0)


def test_a_replica_that_holds_the_key_again_votes_two_heights_later() -> None:
    state = replica(me=1)
    for name in ("one", "two"):
        take(state, name, is_mute=True)
    for name in ("three", "four"):
        take(state, name, is_mute=False)

    effects = propose_to(state, next_block(state, "five"))

    assert sent(effects, Prepare)


def test_a_replica_restored_without_its_key_repeats_nothing_and_signs_nothing() -> None:
    state, effects = restore(
        config_of(1),
        replace(genesis_of(4), is_mute=True),
        (start_journal(1),),
        is_journal_whole=True,
        waiting=True,
    )

    effects += propose_to(state, make_block("one"))

    assert not sent(effects, Prepare)
    assert TimerKind.VIEW_CHANGE not in state.timers
