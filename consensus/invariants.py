"""What must hold between any two events, and how much a replica keeps (B1).

No message can break these: they are our own mistakes if broken, and stop the process.
"""

from typing import Final

from consensus.evidence import PAST_HEIGHTS, REPORTS_MAX
from consensus.mailbox import PHASES, VIEWS_KEPT, count_votes
from consensus.messages import FETCH_COUNT_MAX
from consensus.records import BOOTS_KEPT
from consensus.state import ReplicaState, is_executed
from consensus.view_change import VOTED_KEPT
from crypto.quorum import QuorumSystem

BLOCKS_KEPT: Final = 4 + VOTED_KEPT
"""The prepared one, the last valid one, the proposed one, one that was fetched, those voted for;
beside them one for each faulty replica."""


def check_invariants(state: ReplicaState) -> None:
    """Assert what the protocol promises about one replica; cheap enough for every event."""
    instance, own = state.instance, state.instance.own
    proposal, prepared, commit = instance.proposal, instance.prepared, own.commit
    if proposal is not None:
        assert proposal.view == instance.view, "a proposal ends with its view"
        assert proposal.digest in instance.blocks, "an accepted proposal comes with its block"
    if prepared is not None:
        assert prepared.view <= instance.view, "nothing is prepared above our view"
    if commit is not None:
        assert prepared is not None, "a commit speaks of a prepared certificate"
        assert prepared.view >= commit.view, "the certificate of a commit is kept"
    for vote in (own.pre_prepare, own.prepare, commit, own.view_change, own.new_view):
        assert vote is None or vote.view <= instance.view, "no vote is above our view"
        assert vote is None or vote.height == state.tip.height + 1, "votes end with their height"
    if not is_executed(state):
        assert own.prepare is None, "nothing is signed before the tip is executed (rule 7)"
        assert own.view_change is None, "nothing is signed before the tip is executed (rule 7)"
    blocks_max = BLOCKS_KEPT + state.members.quorum.f
    assert len(instance.blocks) <= blocks_max, "few blocks are kept"


def retained(state: ReplicaState) -> int:
    """Return how many objects that peers can cause are kept: votes, blocks, words about peers."""
    instance = state.instance
    return (
        count_votes(instance.mailbox)
        + count_votes(state.next_mailbox)
        + len(instance.blocks)
        + len(instance.valid)
        + len(instance.durable)
        + len(instance.checking)
        + len(instance.basis)
        + len(state.peers)
        + len(state.fetched)
        + len(instance.contradicted)
        + len(state.past_votes)
        + len(state.reported)
        + len(state.complaints)
        + len(state.boots.strangers)
        + (0 if state.listening is None else len(state.listening.answered))
        + (0 if state.fence is None else len(state.fence.proven))
    )


def retained_max(quorum: QuorumSystem) -> int:
    """Return the most that `retained` may ever be, whatever peers send (B1)."""
    votes = 2 * len(PHASES) * VIEWS_KEPT * quorum.n
    blocks = 4 * (BLOCKS_KEPT + quorum.f)
    past = (PAST_HEIGHTS + 2) * len(PHASES) * VIEWS_KEPT * quorum.n + REPORTS_MAX * quorum.n
    others = 2 * 4 * quorum.n + BOOTS_KEPT
    return votes + past + others + blocks + quorum.strong + FETCH_COUNT_MAX
