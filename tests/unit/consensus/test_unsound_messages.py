"""Messages whose signatures are right and whose words cannot be: refused with a reason."""

from dataclasses import replace

import pytest

from consensus.blocks import Block
from consensus.core import handle
from consensus.events import ProposalMade, TimerKind
from consensus.messages import Blocks, Fetch, Prepare
from crypto.hashing import Digest
from crypto.validators import Epoch
from crypto.votes import CommitCertificate, Height, View
from tests.unit.consensus.replicas import (
    certified,
    commit,
    committed,
    decide_next,
    decided,
    execute,
    expire,
    hand,
    hand_all,
    make,
    make_block,
    new_view,
    pre_prepare,
    prepared,
    propose_to,
    reasons,
    replica,
    sent,
    status,
    view_change,
)

BLOCK = make_block("a")
OTHER_EPOCH = replace(committed(BLOCK), epoch=Epoch(1))


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (None, "no certificate of its parent"),
        (committed(make_block("b")), "a certificate of another block than its parent"),
        (replace(committed(BLOCK), height=Height(9)), "a certificate of another block"),
        (OTHER_EPOCH, "a parent certificate of another epoch"),
    ],
    ids=["none", "block", "height", "epoch"],
)
def test_a_proposal_needs_a_certificate_of_its_parent(
    certificate: CommitCertificate | None, reason: str
) -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)
    hand_all(state, *(commit(one, BLOCK) for one in (0, 2, 3)))
    execute(state)
    block = make_block("b", height=2, parent=BLOCK.digest, parent_certificate=certificate)

    effects = propose_to(state, block)

    assert reasons(effects)[0].startswith(reason)
    assert sent(effects, Prepare) == []


@pytest.mark.parametrize(
    "certificate",
    [
        OTHER_EPOCH,
        committed(BLOCK, signers=(0, 1)),
        committed(make_block("far", height=5)),
    ],
    ids=["epoch", "no quorum", "height"],
)
def test_a_proof_that_is_none_for_our_height_decides_nothing(
    certificate: CommitCertificate,
) -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)

    effects = hand(state, 2, status(2, certificate=certificate))

    assert decided(effects) == []
    assert state.instance.certificate is None


def test_fetched_blocks_of_another_epoch_are_not_decided() -> None:
    state = replica(me=1)
    hand(state, 2, status(9))
    block = replace(certified(BLOCK), certificate=OTHER_EPOCH)

    effects = hand(state, 2, Blocks(blocks=(block,)))

    assert reasons(effects) == ["another epoch"]
    assert decided(effects) == []


def test_fetched_blocks_that_we_have_decided_meanwhile_are_passed_over() -> None:
    state = replica(me=1)
    second = make_block(
        "b", height=2, parent=BLOCK.digest, parent_certificate=committed(BLOCK), is_empty=True
    )
    third = make_block("c", height=3, parent=second.digest, parent_certificate=committed(second))
    propose_to(state, BLOCK)
    hand_all(state, *(commit(one, BLOCK) for one in (0, 2, 3)))
    hand(state, 0, Blocks(blocks=(certified(second), certified(third))))
    busy = hand(state, 2, Blocks(blocks=(certified(second),)))

    first = execute(state)
    second_effects = execute(state)

    assert reasons(busy) == ["busy with others"]
    assert decided(first) == [second]
    assert decided(second_effects) == [third]
    assert sent(second_effects, Fetch) == []


def test_a_new_view_with_a_view_change_of_a_stranger_is_refused() -> None:
    state = replica(me=0)
    leavers = [view_change(one, 1) for one in (1, 2, 9)]
    fresh = make_block("fresh", view=1, proposer=1)

    effects = hand(state, 1, new_view(fresh, view=1, leavers=leavers, signer=1))

    assert reasons(effects) == ["a view-change of a stranger"]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (make_block("b", view=0, proposer=1), "a fresh block of another view"),
        (make_block("b", view=1, proposer=1, parent=Digest(b"p" * 32)), "another parent"),
    ],
    ids=["view", "parent"],
)
def test_a_fresh_block_of_a_new_view_stands_on_our_chain(block: Block, reason: str) -> None:
    state = replica(me=0)
    leavers = [view_change(one, 1) for one in (1, 2, 3)]

    effects = hand(state, 1, new_view(block, view=1, leavers=leavers, signer=1))

    assert reasons(effects)[0].startswith(reason)
    assert state.instance.view == 0


def test_a_report_of_too_few_prepares_does_not_count_towards_a_new_view() -> None:
    state = replica(me=1)
    expire(state, TimerKind.VIEW_CHANGE)
    thin = prepared(BLOCK, backups=(2,))

    hand_all(state, view_change(2, 1, report=thin), view_change(3, 1))

    early = state.instance.basis
    hand_all(state, view_change(0, 1))

    assert early == ()
    assert [one.signer for one in state.instance.basis] == [0, 1, 3]


def test_commits_for_different_blocks_make_no_quorum() -> None:
    state = replica(me=1)
    propose_to(state, BLOCK)
    other = make_block("b")

    effects = hand_all(state, commit(0, BLOCK), commit(2, other), commit(3, other))

    assert decided(effects) == []


def test_a_block_that_was_made_twice_is_proposed_once() -> None:
    state = replica(me=0)
    expire(state, TimerKind.PROPOSE)
    make(state, BLOCK)

    again = ProposalMade(height=Height(1), view=View(0), block=make_block("b"))
    effects = handle(state, again)

    assert reasons(effects) == ["proposed already"]


def test_a_behind_the_tip_proposal_is_answered_with_proof() -> None:
    state = replica(me=1)
    decide_next(state, "one")

    effects = hand(state, 0, pre_prepare(0, BLOCK))

    assert reasons(effects) == ["a decided height"]
