"""A chain restarted by its operators: what they state, and what the document makes of a replica."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consensus.effects import Effect
from consensus.errors import InvalidRestart
from consensus.messages import Blocks, Prepare, PrePrepare
from consensus.records import FenceLifted, FenceRaised, Record, Restarted
from consensus.restarting import (
    LEFT_BEHIND,
    RestartDocument,
    TipStatement,
    combine,
    document_jobs,
    statement_preimage,
)
from consensus.restore import restore
from consensus.state import ReplicaState
from crypto.hashing import ChainId
from crypto.validators import RESTART_EPOCHS, Epoch, ReplicaId, after_restart, set_number
from crypto.votes import CommitCertificate, Height, View, VoteType, vote_preimage
from tests.simulation.ideal import CHAIN, is_signed, make_signer, make_validators
from tests.unit.consensus.replicas import (
    GENESIS,
    accept,
    certified,
    commit,
    committed,
    config_of,
    echo,
    execute,
    genesis_of,
    hand,
    hear,
    make_block,
    reasons,
    replica,
    sent,
    start_journal,
    written,
)

FIRST = make_block("first")
SECOND = make_block("second", height=2, parent=FIRST.digest, parent_certificate=committed(FIRST))
LATER = Epoch(RESTART_EPOCHS)
ORDER = Restarted(epoch=LATER, height=Height(1), digest=FIRST.digest)
STUCK = FenceRaised(reason="this directory was copied or restored")


def stated(
    signer: int,
    height: int,
    *,
    epoch: int = 0,
    is_stuck: bool = True,
    chain: ChainId = CHAIN,
    certificate: CommitCertificate | None = None,
) -> TipStatement:
    block = {0: None, 1: FIRST, 2: SECOND}[height]
    digest = GENESIS if block is None else block.digest
    if block is not None and certificate is None:
        certificate = committed(block)
    preimage = statement_preimage(
        chain, Epoch(epoch), Height(height), digest, is_stuck=is_stuck, signer=ReplicaId(signer)
    )
    return TipStatement(
        chain_id=chain,
        epoch=Epoch(epoch),
        height=Height(height),
        digest=digest,
        is_stuck=is_stuck,
        certificate=certificate,
        signer=ReplicaId(signer),
        signature=make_signer(signer)(preimage),
    )


def check(document: RestartDocument, n: int = 4, proven_by: int = 4) -> bool:
    sets = {Epoch(0): make_validators(proven_by)}
    jobs = document_jobs(document, make_validators(n), CHAIN, sets)
    return all(is_signed(job) for job in jobs)


def committed_later(block_name: str) -> Blocks:
    """Block 2 on the first, as others decided it after the restart."""
    block = make_block(
        block_name, height=2, parent=FIRST.digest, parent_certificate=committed(FIRST)
    )
    preimage = vote_preimage(CHAIN, LATER, VoteType.COMMIT, block.height, View(0), block.digest)
    signatures = tuple((ReplicaId(one), make_signer(one)(preimage)) for one in (0, 1, 2))
    certificate = replace(committed(block), epoch=LATER, signatures=signatures)
    return Blocks(blocks=(replace(certified(block), certificate=certificate),))


def start(records: Sequence[Record], *, me: int = 3) -> ReplicaState:
    state, _ = restore(
        config_of(me),
        genesis_of(4),
        (start_journal(me), *records),
        is_journal_whole=True,
        waiting=False,
    )
    hear(state)
    return state


def decide_first(state: ReplicaState) -> None:
    hand(state, 0, Blocks(blocks=(certified(FIRST),)))


def test_the_highest_block_of_a_quorum_is_the_one_above_which_the_chain_goes_on() -> None:
    document = combine([stated(3, 1), stated(0, 0), stated(1, 2), stated(0, 0)])

    assert [one.signer for one in document.statements] == [0, 1, 3]
    assert (document.tip.height, document.tip.digest) == (2, SECOND.digest)
    assert document.epoch == RESTART_EPOCHS
    assert check(document)


def test_a_second_restart_has_a_later_epoch_and_the_same_set() -> None:
    again = after_restart(Epoch(RESTART_EPOCHS + 7))

    assert again == 2 * RESTART_EPOCHS + 7
    assert set_number(again) == 7


@pytest.mark.parametrize(
    "statements",
    [
        [stated(0, 1), stated(1, 1)],
        [stated(0, 1), stated(1, 1), stated(9, 1)],
        [stated(0, 1), stated(1, 1), stated(2, 1, chain=ChainId(bytes(32)))],
        [stated(one, 1, is_stuck=False) for one in range(3)],
        [stated(0, 1), stated(1, 1), stated(2, 1, certificate=committed(FIRST, signers=(0, 1)))],
        [stated(0, 1), stated(1, 1), stated(2, 1, epoch=2)],
        [stated(0, 1), stated(1, 1), stated(2, 1, epoch=2**64 - RESTART_EPOCHS)],
    ],
    ids=[
        "too few",
        "a stranger",
        "another chain",
        "not needed",
        "not exactly a quorum",
        "a set that cannot follow",
        "restarts that nobody has seen",
    ],
)
def test_what_does_not_allow_a_restart_is_refused(statements: list[TipStatement]) -> None:
    with pytest.raises(InvalidRestart):
        check(combine(statements))


def test_the_last_block_of_an_epoch_is_proven_by_the_members_of_that_epoch() -> None:
    """All nodes were lost right before a fifth member would have voted for the first time."""
    document = combine([stated(one, 1, epoch=1) for one in range(4)])

    assert check(document, n=5)
    assert document.epoch == RESTART_EPOCHS + 1


def test_a_block_of_an_epoch_that_is_not_known_here_proves_nothing() -> None:
    proof = replace(committed(FIRST), epoch=Epoch(7))
    document = combine([stated(one, 1, epoch=7, certificate=proof) for one in range(3)])

    with pytest.raises(InvalidRestart, match="not known here"):
        check(document)


def test_the_set_after_a_restart_is_that_above_the_highest_block_whatever_others_state() -> None:
    """Node 2 had followed a restart below, with the set of that time."""
    document = combine([stated(0, 1, epoch=1), stated(1, 1, epoch=1), stated(2, 0, epoch=LATER)])

    assert document.epoch == 2 * RESTART_EPOCHS + 1


def test_a_block_lost_at_an_earlier_restart_is_no_block_to_go_on_above() -> None:
    """Node 3 was left behind there with a block more, and states it when all are lost again."""
    proof = replace(committed(FIRST), epoch=LATER)
    since = [stated(one, 1, epoch=LATER, certificate=proof) for one in range(3)]

    document = combine([*since, stated(3, 2)])

    assert (document.tip.height, document.epoch) == (1, 2 * RESTART_EPOCHS)


def test_a_wrong_number_of_sets_in_a_document_moves_no_epoch() -> None:
    state = start((STUCK, replace(ORDER, epoch=Epoch(LATER + 1))))

    decide_first(state)
    execute(state)

    assert state.members.epoch == LATER


def test_a_statement_changed_on_its_way_has_a_wrong_signature() -> None:
    changed = replace(stated(2, 1), is_stuck=False)

    assert not check(combine([stated(0, 1), stated(1, 1), changed]))


def test_two_statements_of_one_node_are_not_chosen_from() -> None:
    with pytest.raises(InvalidRestart, match="two different statements of node 1"):
        combine([stated(1, 1), stated(1, 2)])


def test_a_block_is_stated_with_the_certificate_that_proves_it() -> None:
    with pytest.raises(ValueError, match="another block"):
        stated(1, 2, certificate=committed(FIRST))
    with pytest.raises(ValueError, match="with its certificate"):
        replace(stated(1, 2), certificate=None)


def test_a_replica_below_stays_fenced_until_it_has_the_block_and_then_votes_in_the_new_epoch() -> (
    None
):
    state = start((STUCK, ORDER))
    assert state.fence is not None

    decide_first(state)
    effects = execute(state)

    assert written(effects) == [FenceLifted(height=Height(1))]
    assert state.members.epoch == LATER
    assert state.next_members is not None
    assert state.next_members.epoch == LATER
    (vote,) = sent(propose_later(state), Prepare)
    assert vote.epoch == LATER


def propose_later(state: ReplicaState) -> list[Effect]:
    block = make_block(
        "later", height=2, parent=FIRST.digest, parent_certificate=state.tip.certificate
    )
    preimage = vote_preimage(CHAIN, LATER, VoteType.PRE_PREPARE, Height(2), View(0), block.digest)
    proposal = PrePrepare(
        epoch=LATER,
        height=Height(2),
        view=View(0),
        digest=block.digest,
        signer=ReplicaId(0),
        signature=make_signer(0)(preimage),
        block=block,
    )
    return [*hand(state, 0, proposal), *accept(state, block)]


def test_a_replica_that_stands_on_another_block_there_does_not_follow() -> None:
    other = replace(ORDER, digest=SECOND.digest)
    state = start((STUCK, other))

    decide_first(state)
    execute(state)

    assert state.fence is not None
    assert state.members.epoch == 0


def test_votes_and_starts_of_the_epoch_before_fence_nobody_after_the_restart() -> None:
    state = start((STUCK, ORDER))
    decide_first(state)
    execute(state)

    effects = hand(state, 0, echo(b"whoever asked...", vote=commit(3, SECOND)))

    assert reasons(effects) == ["our own vote, of an epoch that is over"]
    assert state.fence is None


def test_who_was_away_follows_a_restart_by_the_certificate_of_its_first_block() -> None:
    state = replica(me=3)
    decide_first(state)
    execute(state)

    hand(state, 0, committed_later("after the restart"))

    assert state.tip.height == 2
    assert state.members.epoch == LATER


def test_who_stands_above_a_restart_is_told_so_and_stops() -> None:
    state = replica(me=3)
    decide_first(state)
    execute(state)
    block = make_block(
        "in vain", height=2, parent=FIRST.digest, parent_certificate=committed(FIRST)
    )
    hand(state, 0, Blocks(blocks=(certified(block),)))
    execute(state)
    after = make_block("third", height=3, parent=SECOND.digest, parent_certificate=None)
    certificate = replace(committed(after), epoch=LATER)
    there = replace(certified(after), certificate=certificate)

    effects = hand(state, 0, Blocks(blocks=(there,)))

    assert written(effects) == [FenceRaised(reason=LEFT_BEHIND)]
