"""One faulty peer that answers every question, and never with what helps (rule 11)."""

from dataclasses import replace

from consensus.blocks import CertifiedBlock
from consensus.effects import CheckProposal, Effect, Send
from consensus.events import TimerKind
from consensus.messages import Blocks, Fetch, FetchProposal, Proposal
from consensus.state import ReplicaState
from crypto.validators import ReplicaId
from tests.unit.consensus.replicas import (
    accept,
    certified,
    commit,
    committed,
    decided,
    execute,
    expire,
    hand,
    hand_all,
    make_block,
    of,
    refuse,
    replica,
    status,
)

FIRST = make_block("first", is_empty=True)
SECOND = make_block(
    "second", height=2, parent=FIRST.digest, parent_certificate=committed(FIRST), is_empty=True
)


def asked(effects: list[Effect]) -> list[int]:
    """Who was asked for something, in order."""
    questions = (one for one in of(effects, Send) if isinstance(one.message, Fetch | FetchProposal))
    return [one.to for one in questions]


def behind_by_two() -> tuple[ReplicaState, list[int]]:
    """Replica 3 has decided the first block; the others say that they are far ahead."""
    state = replica(me=3)
    hand(state, 0, Blocks(blocks=(certified(FIRST),)))
    execute(state)
    first = [effect for peer in (0, 1, 2) for effect in hand(state, peer, status(9))]
    return state, asked(first)


def test_a_server_of_unfit_blocks_with_right_certificates_is_not_asked_for_ever() -> None:
    state, questions = behind_by_two()
    assert questions == [0]
    unfit = replace(SECOND, parent_certificate=None)
    served = CertifiedBlock(block=unfit, certificate=committed(SECOND), bodies=b"bodies")

    hand(state, 0, Blocks(blocks=(served,)))
    effects = expire(state, TimerKind.FETCH)

    assert asked(effects) == [1]


def test_who_serves_fit_blocks_is_trusted_again() -> None:
    state, _ = behind_by_two()
    expire(state, TimerKind.FETCH)
    assert state.peers[ReplicaId(0)].failures == 1

    hand(state, 0, Blocks(blocks=(certified(SECOND),)))

    assert state.tip.digest == SECOND.digest
    assert state.peers[ReplicaId(0)].failures == 0


def test_a_server_of_a_decided_block_that_is_refused_is_not_asked_for_ever() -> None:
    state = replica(me=3)
    block = make_block("a")
    effects = hand_all(state, commit(0, block), commit(1, block), commit(2, block))
    assert asked(effects) == [0]
    altered = replace(block, header=b"altered")

    effects = hand(state, 0, Proposal(block=altered, bodies=b""))
    assert of(effects, CheckProposal)
    refuse(state, block, "block.parent_certificate")
    effects = expire(state, TimerKind.FETCH)

    assert asked(effects) == [1]
    hand(state, 1, Proposal(block=block, bodies=b""))
    assert decided(accept(state, block)) == [block]
