"""A prepare promises to serve its block until the height is decided (rule 6), whatever follows.

Faulty primaries hold back the certificate of an early block, let others be voted for after it, and
show it then: whoever must propose that block again has nobody to ask but those who voted for it.
"""

from consensus.effects import Effect
from consensus.invariants import BLOCKS_KEPT
from consensus.messages import FetchProposal, NewView
from consensus.state import ReplicaState
from consensus.view_change import VOTED_KEPT
from crypto.votes import PreparedCertificate
from tests.unit.consensus.replicas import (
    accept,
    fresh,
    hand,
    hand_all,
    make_block,
    new_view,
    prepared,
    propose_to,
    replica,
    sent,
    view_change,
    written,
)

EARLY = make_block("early")
LATER = make_block("later", view=1, proposer=1)
HIDDEN = prepared(EARLY, primary=0, backups=(1, 2, 3, 4))


def voted_twice() -> tuple[ReplicaState, list[Effect]]:
    """Replica 2 of seven voted for `EARLY` in view 0 and for `LATER` in view 1."""
    state = replica(7, me=2)
    effects = propose_to(state, EARLY)
    leavers = [view_change(one, 1) for one in (0, 1, 3, 4, 5)]
    effects += hand(state, 1, new_view(LATER, view=1, leavers=leavers, signer=1))
    effects += accept(state, LATER)
    return state, effects


def reveal(state: ReplicaState, certificate: PreparedCertificate) -> list[Effect]:
    """The two faulty replicas show the certificate on the way to view 2, which is ours."""
    faulty = [view_change(one, 2, report=certificate) for one in (0, 1)]
    return hand_all(state, *faulty, *(view_change(one, 2) for one in (3, 4)))


def test_a_new_primary_proposes_again_what_it_voted_for_two_views_ago() -> None:
    state, _ = voted_twice()

    effects = reveal(state, HIDDEN)

    assert sent(effects, FetchProposal) == []
    assert [one.digest for one in sent(effects, NewView)] == [EARLY.digest]


def test_it_does_so_after_a_restart() -> None:
    _, effects = voted_twice()
    state, _ = fresh(7, me=2, records=written(effects))

    effects = reveal(state, HIDDEN)

    assert [one.digest for one in sent(effects, NewView)] == [EARLY.digest]


def test_the_promises_that_are_kept_are_bounded() -> None:
    state = replica(4, me=3)

    for view in (one for one in range(1, 120) if one % 4 != 3):
        block = make_block(f"of view {view}", view=view, proposer=view % 4)
        votes = [view_change(one, view) for one in (0, 1, 2)]
        hand(state, view % 4, new_view(block, view=view, leavers=votes, signer=view % 4))
        accept(state, block)

    assert VOTED_KEPT < len(state.instance.blocks) <= BLOCKS_KEPT + state.members.quorum.f
